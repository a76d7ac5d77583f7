/** Checked options of an endpoint: what goes to the engine, what stays on this side. */
import type { NativeEndpointOptions } from '../binding/index.ts'
import { refuseUnavailable } from './availability.ts'
import { checkCombinations } from './combine.ts'
import { defined, fullAddress, prepareServer } from './connection.ts'
import type { ConnectionOptions, EndpointOptions, Logger, ServerOptions } from './options.ts'
import { checkConnection, checkEndpoint } from './schema.ts'

export interface PreparedEndpoint {
  native: NativeEndpointOptions
  /** Defaults of all connections. */
  connection: ConnectionOptions
  server: ServerOptions | null
  metricsIntervalMs: number
  keylog: EndpointOptions['keylog'] | undefined
  qlog: EndpointOptions['qlog'] | undefined
  logger: Logger
}

/** Checks everything before anything is bound. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function prepareEndpoint(value: unknown, features: ReadonlySet<string>): PreparedEndpoint {
  const options = checkEndpoint(value ?? {}, '')
  refuseUnavailable('endpoint', options, features, '')
  const connection = checkConnection(options.connection ?? {}, 'connection')
  checkCombinations(connection, 'connection')
  refuseUnavailable('connection', connection, features, 'connection')
  const server = options.server === undefined ? null : prepareServer(connection, options.server, features, 'server')
  const local = typeof options.local === 'string' ? [options.local] : [...(options.local ?? [])]
  const { reusePort, sendBufferBytes, receiveBufferBytes, maxSegments, memory } = options
  const secret = options.secret === undefined ? undefined : Buffer.from(options.secret).toString('hex')
  const native = { local: local.map(fullAddress), ...defined({ reusePort, sendBufferBytes, receiveBufferBytes, maxSegments, memory, secret, keylog: options.keylog === undefined ? undefined : true, qlog: options.qlog === undefined ? undefined : true }) }
  return { native, connection, server, metricsIntervalMs: options.metricsIntervalMs ?? 100, keylog: options.keylog, qlog: options.qlog, logger: isolatedLogger(options.logger ?? {}) }
}

/** What a logger throws stops nobody else's work (attacks I2); the process is warned once. */
function isolatedLogger(logger: Logger): Logger {
  let warned = false
  const at = (level: keyof Logger) => (message: string, facts: object): void => {
    try {
      logger[level]?.(message, facts)
    } catch (error) {
      if (!warned) process.emitWarning(`the logger failed: ${error instanceof Error ? error.message : String(error)}`, 'QuicbraidWarning')
      warned = true
    }
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
