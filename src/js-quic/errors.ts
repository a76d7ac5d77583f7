/**
 * Error classes of the façade, by js-quic's names, so that `instanceof` in programs goes on working. `cause` is the error of
 * this package (with its `QB_…` code), or the reason of a stream. Decides nothing: `ends.ts` chooses the class.
 */

interface ErrorOptions<D> { data?: D; cause?: unknown }

/** What ended a connection. */
export interface ConnectionEnd { isApp: boolean; errorCode: number; reason: Uint8Array }

export class ErrorQUIC<D extends object = object> extends Error {
  static description: string = 'QUIC error'
  readonly data: D

  constructor(message: string = '', { data, cause }: ErrorOptions<D> = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.data = data ?? ({} as D)
  }

  override get name(): string {
    return this.constructor.name
  }

  /** One sentence, the same for all errors of the class. */
  get description(): string {
    return (this.constructor as typeof ErrorQUIC).description
  }
}

export class ErrorQUICHostInvalid extends ErrorQUIC { static override description: string = 'Host is neither an address nor a name that resolves' }
export class ErrorQUICPortInvalid extends ErrorQUIC { static override description: string = 'Port is not a whole number from 0 to 65535' }
export class ErrorQUICConfig extends ErrorQUIC { static override description: string = 'Configuration cannot be used' }

export class ErrorQUICSocket extends ErrorQUIC { static override description: string = 'Socket error' }
export class ErrorQUICSocketNotRunning extends ErrorQUICSocket { static override description: string = 'Socket is not running' }
export class ErrorQUICSocketConnectionsActive extends ErrorQUICSocket { static override description: string = 'Socket has connections' }
export class ErrorQUICSocketInvalidBindAddress extends ErrorQUICSocket { static override description: string = 'Socket cannot be bound to this address' }
export class ErrorQUICSocketInvalidSendAddress extends ErrorQUICSocket { static override description: string = 'Socket cannot send to this address' }
export class ErrorQUICSocketInternal extends ErrorQUICSocket { static override description: string = 'Socket has broken' }

export class ErrorQUICClient extends ErrorQUIC { static override description: string = 'Client error' }
export class ErrorQUICClientDestroyed extends ErrorQUICClient { static override description: string = 'Client is destroyed' }
export class ErrorQUICClientCreateTimeout extends ErrorQUICClient { static override description: string = 'Client was not connected in time' }
export class ErrorQUICClientSocketNotRunning extends ErrorQUICClient { static override description: string = 'Socket of the client is not running' }
export class ErrorQUICClientInvalidArgument extends ErrorQUICClient { static override description: string = 'Client cannot be made with these arguments' }
export class ErrorQUICClientInvalidHost extends ErrorQUICClient { static override description: string = 'Socket of the client cannot reach this host' }
export class ErrorQUICClientInternal extends ErrorQUICClient { static override description: string = 'Client has broken' }

export class ErrorQUICServer extends ErrorQUIC { static override description: string = 'Server error' }
export class ErrorQUICServerNotRunning extends ErrorQUICServer { static override description: string = 'Server is not running' }
export class ErrorQUICServerSocketNotRunning extends ErrorQUICServer { static override description: string = 'Socket of the server is not running' }
export class ErrorQUICServerInternal extends ErrorQUICServer { static override description: string = 'Server has broken' }

export class ErrorQUICConnection<D extends object = object> extends ErrorQUIC<D> { static override description: string = 'Connection error' }
export class ErrorQUICConnectionStopping extends ErrorQUICConnection { static override description: string = 'Connection is stopping' }
export class ErrorQUICConnectionNotRunning extends ErrorQUICConnection { static override description: string = 'Connection is not running' }
export class ErrorQUICConnectionConfigInvalid extends ErrorQUICConnection { static override description: string = 'Configuration of the connection contradicts itself' }
export class ErrorQUICConnectionLocal extends ErrorQUICConnection<ConnectionEnd> { static override description: string = 'Connection was ended here' }
export class ErrorQUICConnectionLocalTLS extends ErrorQUICConnectionLocal { static override description: string = 'Connection was ended here by TLS' }
export class ErrorQUICConnectionPeer extends ErrorQUICConnection<ConnectionEnd> { static override description: string = 'Connection was ended by the peer' }
export class ErrorQUICConnectionPeerTLS extends ErrorQUICConnectionPeer { static override description: string = "Connection was ended by the peer's TLS" }
export class ErrorQUICConnectionIdleTimeout extends ErrorQUICConnection { static override description: string = 'Connection was silent for too long' }
export class ErrorQUICConnectionInternal extends ErrorQUICConnection { static override description: string = 'Connection has broken' }

export class ErrorQUICStream<D extends object = object> extends ErrorQUIC<D> { static override description: string = 'Stream error' }
export class ErrorQUICStreamLocalRead extends ErrorQUICStream<{ code: number }> { static override description: string = 'Reading was cancelled here' }
export class ErrorQUICStreamLocalWrite extends ErrorQUICStream<{ code: number }> { static override description: string = 'Writing was aborted here' }
export class ErrorQUICStreamPeerRead extends ErrorQUICStream<{ code: number }> { static override description: string = 'Peer reset the stream' }
export class ErrorQUICStreamPeerWrite extends ErrorQUICStream<{ code: number }> { static override description: string = 'Peer stopped the stream' }
export class ErrorQUICStreamInternal extends ErrorQUICStream { static override description: string = 'Stream has broken' }
