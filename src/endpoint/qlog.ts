/**
 * Where qlogs go: a folder with one `<odcid>_<role>.sqlog` per connection, or a function per record. A full disk, a folder that cannot be
 * written or a disk that is too slow ends logging with one warning; connections live on (attacks I13).
 */
import { createWriteStream, mkdirSync } from 'node:fs'
import type { WriteStream } from 'node:fs'
import { join } from 'node:path'
import type { EndpointOptions, Logger } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'

export interface QlogSink {
  /** A connection's key is known. */
  add(key: number, connection: Connection): void
  /** `piece`: the log's name, a line feed, whole records. */
  write(key: number, piece: string, end: 'open' | 'last'): void
  close(): void
}

/** Bytes that wait for the disk over all logs. */
const WAITING_BYTES = 16 * 1024 * 1024

const SILENT: QlogSink = { add() {}, write() {}, close() {} }

export function qlogSink(option: EndpointOptions['qlog'], logger: Logger): QlogSink {
  if (option === undefined) return SILENT
  return typeof option === 'function' ? new CallbackSink(option, logger) : new FolderSink(option, logger)
}

function divided(piece: string): [name: string, records: string] {
  const at = piece.indexOf('\n')
  return [piece.slice(0, at), piece.slice(at + 1)]
}

class FolderSink implements QlogSink {
  readonly #folder: string
  readonly #logger: Logger
  readonly #files = new Map<string, WriteStream>()
  #state: 'new' | 'ready' | 'failed' = 'new'

  constructor(folder: string, logger: Logger) {
    this.#folder = folder
    this.#logger = logger
  }

  add(): void {}

  write(_key: number, piece: string, end: 'open' | 'last'): void {
    if (this.#state === 'failed') return
    const [name, records] = divided(piece)
    try {
      const file = this.#file(name)
      if (records !== '') file.write(records)
      if (end === 'last') {
        this.#files.delete(name)
        file.end()
      }
    } catch (error) {
      return this.#fail(error)
    }
    let waiting = 0
    for (const file of this.#files.values()) waiting += file.writableLength
    if (waiting > WAITING_BYTES) this.#fail(new Error(`more than ${WAITING_BYTES} bytes wait for the disk`))
  }

  close(): void {
    for (const file of this.#files.values()) file.end()
    this.#files.clear()
  }

  #file(name: string): WriteStream {
    if (this.#state === 'new') {
      mkdirSync(this.#folder, { recursive: true })
      this.#state = 'ready'
    }
    const open = this.#files.get(name)
    if (open !== undefined) return open
    const file = createWriteStream(join(this.#folder, `${name}.sqlog`))
    file.on('error', (error) => this.#fail(error))
    this.#files.set(name, file)
    return file
  }

  #fail(error: unknown): void {
    if (this.#state === 'failed') return
    this.#state = 'failed'
    for (const file of this.#files.values()) file.destroy()
    this.#files.clear()
    this.#logger.warn?.('qlog failed and is off', { field: 'qlog', value: this.#folder, error })
  }
}

class CallbackSink implements QlogSink {
  readonly #callback: (record: string, connection: Connection) => void
  readonly #logger: Logger
  readonly #byKey = new Map<number, Connection>()
  /** A log outlives its key by its last records. */
  readonly #byName = new Map<string, { key: number; connection: Connection }>()

  constructor(callback: (record: string, connection: Connection) => void, logger: Logger) {
    this.#callback = callback
    this.#logger = logger
  }

  add(key: number, connection: Connection): void {
    this.#byKey.set(key, connection)
  }

  write(key: number, piece: string, end: 'open' | 'last'): void {
    const [name, records] = divided(piece)
    const known = this.#byKey.get(key)
    if (known !== undefined && !this.#byName.has(name)) this.#byName.set(name, { key, connection: known })
    // Nobody was told of a connection that was refused here.
    const owner = this.#byName.get(name)
    if (end === 'last') {
      this.#byName.delete(name)
      this.#byKey.delete(owner?.key ?? 0)
    }
    if (owner === undefined) return
    for (const record of records.split(/(?<=\n)/)) {
      if (record === '') continue
      try {
        this.#callback(record, owner.connection)
      } catch (error) {
        this.#logger.warn?.('the qlog function failed', { field: 'qlog', error })
      }
    }
  }

  close(): void {
    this.#byKey.clear()
    this.#byName.clear()
  }
}
