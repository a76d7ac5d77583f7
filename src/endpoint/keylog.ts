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
  if (typeof option === 'function') {
    return {
      write(line) {
        try {
          option(line)
        } catch (error) {
          logger.warn?.('the key log function failed', { field: 'keylog', error })
        }
      },
      close() {},
    }
  }
  const file = option === 'env' ? process.env['SSLKEYLOGFILE'] : option
  if (file === undefined || file === '') return SILENT
  const stream = createWriteStream(file, { flags: 'a', mode: 0o600 })
  stream.on('error', (error) => logger.warn?.('the key log failed and is off', { field: 'keylog', value: file, error }))
  return {
    write: (line) => void (stream.destroyed || stream.write(`${line}\n`)),
    close: () => void stream.end(),
  }
}
