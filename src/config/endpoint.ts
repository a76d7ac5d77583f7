/** Checked options of an endpoint: what goes to the engine, what stays on this side. */
import type { BlockList } from 'node:net'
import type { NativeEndpointOptions } from '../binding/index.ts'
import { refuseUnavailable } from './availability.ts'
import { blockRules } from './block-list.ts'
import { unavailableOption } from './check.ts'
import { checkCombinations } from './combine.ts'
import { defined, fullAddress, prepareServer } from './connection.ts'
import { ID_BYTES, checkIdBytes, chooseIds } from './id-bytes.ts'
import type { ConnectionOptions, EndpointOptions, Logger, ServerOptions } from './options.ts'
import { checkConnection, checkEndpoint } from './schema.ts'

export interface PreparedEndpoint {
  native: NativeEndpointOptions
  /** Defaults of all connections. */
  connection: ConnectionOptions
  server: ServerOptions | null
  /** Of every connection id that is issued. */
  idBytes: number
  blockList: BlockList | null
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
  const { reusePort, sendBufferBytes, receiveBufferBytes, maxSegments, memory, blockList } = options
  const ids = chooseIds(options.serverId, connection)
  if (ids.bytes !== ID_BYTES && !features.has('connectionIdBytes')) throw unavailableOption('connection.limits.connectionIdBytes', ids.bytes)
  if (server !== null) checkIdBytes(server, ids.bytes, 'server')
  const block = blockList === undefined ? undefined : blockRules(blockList)
  const connectionIdBytes = ids.bytes === ID_BYTES && ids.serverId === undefined ? undefined : ids.bytes
  const secret = options.secret === undefined ? undefined : Buffer.from(options.secret).toString('hex')
  const native = { local: local.map(fullAddress), ...defined({ reusePort, sendBufferBytes, receiveBufferBytes, maxSegments, memory, secret, block, serverId: ids.serverId, connectionIdBytes, keylog: options.keylog === undefined ? undefined : true, qlog: options.qlog === undefined ? undefined : true }) }
  return { native, connection, server, idBytes: ids.bytes, blockList: blockList ?? null, metricsIntervalMs: options.metricsIntervalMs ?? 100, keylog: options.keylog, qlog: options.qlog, logger: isolatedLogger(options.logger ?? {}) }
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
