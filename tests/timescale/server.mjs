// TimescaleDB in WebAssembly behind PostgreSQL's wire protocol, for tests.
//
//   node server.mjs MODULES [TURN_LIMIT_MS]        MODULES holds node_modules
//
// Prints {"port": …} once it listens on 127.0.0.1. A line {"do": "save" | "restore", "name": …} on stdin
// is answered by {"done": …} or {"failed": …}; the end of stdin or SIGTERM ends it. Any password is right.
//
// All clients share one session, so they take turns: whoever sends a message keeps the backend until its
// transaction is over. Settings are put back at each turn and statements have names of their own;
// advisory locks, temporary tables and LISTEN are common to all, and no timeout of PostgreSQL's ever fires.

import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { Backend } from './backend.mjs'
import * as wire from './wire.mjs'

const TURN_LIMIT_MS = Number(process.argv[3] ?? 20_000)
const PARAMETERS = ['server_version', 'server_encoding', 'client_encoding', 'DateStyle', 'TimeZone', 'IntervalStyle', 'integer_datetimes', 'standard_conforming_strings', 'application_name', 'is_superuser', 'session_authorization']
const COPY_IN = /^\s*COPY\b[^;]*\bFROM\s+STDIN\b/i

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

class Turns {
  #owner = null
  #last = null // whose settings the session has
  #waiting = []

  constructor(backend) {
    this.backend = backend
    this.clients = new Set()
  }

  /** Wait for the turn, at most TURN_LIMIT_MS; the session then has the client's settings. */
  async take(client) {
    if (this.#owner === client) return
    if (this.#owner) {
      await new Promise((resolve, reject) => {
        const entry = { client, resolve }
        const late = () => {
          this.#waiting = this.#waiting.filter((one) => one !== entry)
          reject(new wire.Refusal('53300', 'another client kept its transaction open in the only session there is'))
        }
        entry.timer = setTimeout(late, TURN_LIMIT_MS)
        this.#waiting.push(entry)
      })
    }
    this.#owner = client
    if (this.#last === client) return
    if (this.#last) this.#last.settings = await this.backend.current()
    this.#last = client
    if (client.settings) await this.backend.become(client.settings)
  }

  give(client) {
    if (this.#owner !== client) return
    const next = this.#waiting.shift()
    this.#owner = next?.client ?? null
    clearTimeout(next?.timer)
    next?.resolve()
  }

  forget(client) {
    if (this.#last === client) this.#last = null
  }
}

class Client {
  settings = null // until it has said who it is
  #initial
  #status = 'I' // of its transaction
  #statements = new Set()
  #copying = null
  #executing = false // since the last Sync
  #work = Promise.resolve()
  #reader = new wire.Reader()

  constructor(id, socket, turns) {
    Object.assign(this, { id, socket, turns, backend: turns.backend, prefix: `c${id}:`, gone: false })
    socket.on('data', (chunk) => this.#queue(() => this.#read(chunk)))
    socket.on('error', () => socket.destroy())
    this.closed = new Promise((resolve) => socket.on('close', () => this.#queue(() => this.#leave().finally(resolve))))
  }

  #queue(step) {
    this.#work = this.#work.then(step).catch((problem) => {
      if (!(problem instanceof wire.Refusal)) {
        console.error(problem)
        process.exit(3) // the backend is in an unknown state
      }
      this.socket.end(wire.error('FATAL', problem.sqlstate, problem.message))
      this.gone = true
    })
  }

  async #read(chunk) {
    for (const received of this.#reader.read(chunk)) {
      if (this.gone) return
      if (received.type === 'encryption?') this.socket.write('N')
      else if (received.type === 'X') this.socket.end()
      else if (this.#copying) await this.#copyData(received)
      else {
        await this.turns.take(this)
        if (received.type === '^') await this.#start(received.parameters)
        else await this.#forward(received)
        const between = 'Q^S'.includes(received.type) || (received.type === 'H' && !this.#executing)
        if (this.#status === 'I' && between && !this.#copying) this.turns.give(this)
      }
    }
  }

  async #start({ user, database, options, replication, ...wanted }) {
    this.#initial = await this.backend.settingsOf(user ?? 'postgres', wanted)
    await this.backend.become(this.#initial)
    const names = PARAMETERS.map((name) => `pg_catalog.current_setting('${name}')`)
    const [values] = await this.backend.rows(`SELECT ${names}`)
    const parameters = Object.fromEntries(PARAMETERS.map((name, i) => [name, values[i]]))
    this.socket.write(Buffer.concat([wire.authenticated(parameters, this.id), wire.readyForQuery('I')]))
    this.settings = this.#initial
  }

  async #forward(received) {
    const sql = received.type === 'Q' ? received.body.toString('utf8', 0, received.body.length - 1) : ''
    if (COPY_IN.test(sql)) {
      this.#copying = { sql, chunks: [] }
      this.socket.write(wire.copyIn(/\bbinary\b/i.test(sql)))
      return
    }
    const { bytes, name } = wire.renamed(received, this.prefix)
    if (received.type === 'P') {
      if (name === this.prefix) await this.backend.run(wire.closeStatement(name)) // unnamed: replaced silently
      this.#statements.add(name)
    }
    const answer = await this.backend.run(bytes)
    if (received.type === 'B') this.#executing = true
    if (received.type === 'S') this.#executing = false
    // A client may prepare a statement, ask for the answer and think: nothing of its own is open then.
    if (received.type === 'H' && !this.#executing) await this.backend.run(wire.SYNC)
    this.#note(answer)
    if (/\b(RESET|DISCARD)\s+ALL\b/i.test(sql) && this.#status === 'I') await this.backend.become(this.#initial)
    this.socket.write(answer)
  }

  async #copyData({ type, body }) {
    const { sql, chunks } = this.#copying
    if (type === 'd') chunks.push(body)
    if (type !== 'c' && type !== 'f') return
    this.#copying = null
    const stopped = "DO $$ BEGIN RAISE query_canceled USING MESSAGE = 'COPY from stdin failed'; END $$"
    const answer = type === 'c' ? await this.backend.copy(sql, chunks) : await this.backend.run(wire.query(stopped))
    this.#note(answer)
    this.socket.write(answer)
    if (this.#status === 'I') this.turns.give(this)
  }

  #note(answer) {
    for (const [type, body] of wire.messages(answer)) if (type === 'Z') this.#status = String.fromCharCode(body[0])
  }

  /** What the client's own backend would have taken with it. */
  async #leave() {
    this.gone = true
    if (this.settings) {
      await this.turns.take(this)
      await this.backend.run(wire.SYNC)
      await this.backend.run(wire.query('ROLLBACK'))
      for (const name of this.#statements) await this.backend.run(wire.closeStatement(name))
      const others = [...this.turns.clients].some((client) => client.settings && !client.gone)
      if (!others) await this.backend.run(wire.query('DISCARD ALL')) // locks and temporary tables
    }
    this.turns.clients.delete(this)
    this.turns.forget(this)
    this.turns.give(this)
  }
}

const backend = await Backend.open(process.argv[2])
await backend.save('empty')
const turns = new Turns(backend)
let count = 0
const server = createServer({ noDelay: true }, (socket) => turns.clients.add(new Client(++count, socket, turns)))

/** Save or restore while nobody is connected: whoever is, is cut off, as by DROP DATABASE … WITH (FORCE). */
const obey = async ({ do: action, name }) => {
  const operator = { settings: null }
  const clients = [...turns.clients]
  for (const client of clients) client.socket.destroy()
  await Promise.all(clients.map((client) => client.closed))
  await turns.take(operator)
  try {
    if (action === 'save') await backend.save(name)
    else if (action === 'restore') await backend.restore(name)
    else throw new Error(`expected save or restore, got ${action}`)
  } finally {
    turns.forget(operator)
    turns.give(operator)
  }
  return { done: action }
}

const commands = createInterface({ input: process.stdin })
let last = Promise.resolve()
commands.on('line', (line) => {
  last = last.then(() => obey(JSON.parse(line))).then(say, (problem) => say({ failed: String(problem) }))
})
commands.on('close', () => process.exit(0))
process.on('SIGTERM', () => process.exit(0))
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))
