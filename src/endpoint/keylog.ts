/** Where key log lines go: a file, SSLKEYLOGFILE, or a function. A sink that fails is left, connections live on. */
import { createWriteStream } from 'node:fs'
import type { EndpointOptions, Logger } from '../config/index.ts'

export interface KeylogSink {
  write(line: string): void
  close(): void
}

const SILENT: KeylogSink = { write() {}, close() {} }

export function keylogSink(option: EndpointOptions['keylog'], logger: Logger): KeylogSink {
  if (option === undefined) return SILENT
  const warn = (error: unknown): void => logger.warn?.('the key log failed and is off', { error })
  if (typeof option === 'function') {
    return {
      write(line) {
        try {
          option(line)
        } catch (error) {
          warn(error)
        }
      },
      close() {},
    }
  }
  const file = option === 'env' ? process.env['SSLKEYLOGFILE'] : option
  if (file === undefined || file === '') return SILENT
  const stream = createWriteStream(file, { flags: 'a', mode: 0o600 })
  stream.on('error', warn)
  return {
    write: (line) => void (stream.destroyed || stream.write(`${line}\n`)),
    close: () => void stream.end(),
  }
}
