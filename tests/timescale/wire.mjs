// The parts of PostgreSQL's wire protocol (version 3) that a proxy has to read and write.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

const SSL_REQUEST = 80877103
const GSSENC_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
const LONGEST_MESSAGE = 512 * 1024 * 1024

/** What a client is told before it is cut off. */
export class Refusal extends Error {
  constructor(sqlstate, text) {
    super(text)
    this.sqlstate = sqlstate
  }
}

export const cString = (text) => Buffer.from(`${text}\0`)

const int32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** Frame one message: type letter, length of what follows including itself, body. */
export const message = (type, ...parts) => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}

export const query = (sql) => message('Q', cString(sql))
export const closeStatement = (name) => message('C', Buffer.from('S'), cString(name))
export const SYNC = message('S')

export const error = (severity, sqlstate, text) =>
  message('E', cString(`S${severity}`), cString(`V${severity}`), cString(`C${sqlstate}`), cString(`M${text}`), Buffer.from([0]))

export const authenticated = (parameters, client) =>
  Buffer.concat([
    message('R', int32(0)),
    ...Object.entries(parameters).map(([name, value]) => message('S', cString(name), cString(value))),
    message('K', int32(client), int32(0)),
  ])

export const readyForQuery = (status) => message('Z', Buffer.from(status))

/** Ask the client for COPY data; nobody reads the number of columns, so it is 0. */
export const copyIn = (binary) => message('G', Buffer.from([binary ? 1 : 0, 0, 0]))

/** Yield [type, body] of each whole message in `bytes`. */
export function* messages(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    yield [String.fromCharCode(bytes[at]), bytes.subarray(at + 5, end)]
    at = end
  }
}

/** Cut a client's bytes into messages; the first ones have no type letter and get '^' for startup. */
export class Reader {
  #rest = Buffer.alloc(0)
  #started = false

  #startup(body) {
    const code = body.readInt32BE(0)
    if (code === SSL_REQUEST || code === GSSENC_REQUEST) return { type: 'encryption?' }
    if (code === CANCEL_REQUEST) return { type: 'X' } // one thread runs queries: none can be interrupted
    this.#started = true
    const fields = body.toString('utf8', 4).split('\0')
    const parameters = {}
    for (let i = 0; fields[i]; i += 2) parameters[fields[i]] = fields[i + 1]
    return { type: '^', parameters }
  }

  *read(chunk) {
    this.#rest = this.#rest.length ? Buffer.concat([this.#rest, chunk]) : chunk
    for (;;) {
      const prefix = this.#started ? 1 : 0
      if (this.#rest.length < prefix + 4) return
      const length = this.#rest.readInt32BE(prefix) + prefix
      if (length < prefix + 4 || length > LONGEST_MESSAGE) throw new Refusal('08P01', `a message of ${length} bytes`)
      if (this.#rest.length < length) return
      const whole = this.#rest.subarray(0, length)
      this.#rest = this.#rest.subarray(length)
      yield this.#started ? { type: String.fromCharCode(whole[0]), body: whole.subarray(5), whole } : this.#startup(whole.subarray(4))
    }
  }
}

/**
 * Give a client's prepared statements names of its own, for all clients share one backend.
 * Returns the message to send and, for Parse, Bind, Describe and Close, the statement's new name.
 */
export const renamed = ({ type, body, whole }, prefix) => {
  let start = 0 // where the statement's name begins in the body
  if (type === 'B') start = body.indexOf(0) + 1 // after the portal's name
  else if ((type === 'D' || type === 'C') && body[0] === 0x53) start = 1 // 'S': not a portal
  else if (type !== 'P') return { bytes: whole }
  const end = body.indexOf(0, start)
  const name = prefix + body.toString('utf8', start, end)
  return { bytes: message(type, body.subarray(0, start), cString(name), body.subarray(end + 1)), name }
}
