/** Event classes of the façade; the type of an event is the name of its class. Those that js-quic uses between its own parts (`…Send`) are not there. */
import type { QUICConnection } from './connection.ts'
import type {
  ErrorQUICClientInternal, ErrorQUICClientSocketNotRunning, ErrorQUICConnection, ErrorQUICServerInternal, ErrorQUICServerSocketNotRunning, ErrorQUICSocketInternal,
  ErrorQUICStreamInternal, ErrorQUICStreamLocalRead, ErrorQUICStreamLocalWrite, ErrorQUICStreamPeerRead, ErrorQUICStreamPeerWrite,
} from './errors.ts'
import type { QUICStream } from './stream.ts'

export class EventQUIC<T = undefined> extends Event {
  readonly detail: T

  constructor(options: { detail?: T; bubbles?: boolean; cancelable?: boolean; composed?: boolean } = {}) {
    const { detail, ...init } = options
    super(new.target.name, init)
    this.detail = detail as T
  }

  /** An event can be dispatched once; its copy elsewhere. */
  clone(): this {
    const Class = this.constructor as new (options: { detail: T; bubbles: boolean; cancelable: boolean; composed: boolean }) => this
    const { detail, bubbles, cancelable, composed } = this
    return new Class({ detail, bubbles, cancelable, composed })
  }
}

export class EventQUICSocket<T = undefined> extends EventQUIC<T> {}
export class EventQUICSocketStart extends EventQUICSocket {}
export class EventQUICSocketStarted extends EventQUICSocket {}
export class EventQUICSocketStop extends EventQUICSocket {}
export class EventQUICSocketStopped extends EventQUICSocket {}
export class EventQUICSocketError extends EventQUICSocket<ErrorQUICSocketInternal> {}
export class EventQUICSocketClose extends EventQUICSocket<ErrorQUICSocketInternal | undefined> {}

export class EventQUICClient<T = undefined> extends EventQUIC<T> {}
export class EventQUICClientDestroy extends EventQUICClient {}
export class EventQUICClientDestroyed extends EventQUICClient {}
/** Also each error of its connection. */
export class EventQUICClientError extends EventQUICClient<ErrorQUICConnection | ErrorQUICClientSocketNotRunning | ErrorQUICClientInternal> {}
export class EventQUICClientClose extends EventQUICClient<ErrorQUICConnection | ErrorQUICClientSocketNotRunning> {}

export class EventQUICServer<T = undefined> extends EventQUIC<T> {}
/** The handshake is complete. */
export class EventQUICServerConnection extends EventQUICServer<QUICConnection> {}
export class EventQUICServerStart extends EventQUICServer {}
export class EventQUICServerStarted extends EventQUICServer {}
export class EventQUICServerStop extends EventQUICServer {}
export class EventQUICServerStopped extends EventQUICServer {}
export class EventQUICServerError extends EventQUICServer<ErrorQUICServerSocketNotRunning | ErrorQUICServerInternal> {}
export class EventQUICServerClose extends EventQUICServer<ErrorQUICServerSocketNotRunning | undefined> {}

export class EventQUICConnection<T = undefined> extends EventQUIC<T> {}
export class EventQUICConnectionStart extends EventQUICConnection {}
export class EventQUICConnectionStarted extends EventQUICConnection {}
export class EventQUICConnectionStop extends EventQUICConnection {}
export class EventQUICConnectionStopped extends EventQUICConnection {}
/** Every end of a connection, an orderly one too. */
export class EventQUICConnectionError extends EventQUICConnection<ErrorQUICConnection> {}
export class EventQUICConnectionClose extends EventQUICConnection<ErrorQUICConnection> {}
/** The peer has opened a stream. */
export class EventQUICConnectionStream extends EventQUICConnection<QUICStream> {}

export class EventQUICStream<T = undefined> extends EventQUIC<T> {}
export class EventQUICStreamDestroy extends EventQUICStream {}
export class EventQUICStreamDestroyed extends EventQUICStream {}
export class EventQUICStreamError extends EventQUICStream<ErrorQUICStreamLocalRead | ErrorQUICStreamLocalWrite | ErrorQUICStreamPeerRead | ErrorQUICStreamPeerWrite | ErrorQUICStreamInternal> {}
/** Without a detail: the end was read. */
export class EventQUICStreamCloseRead extends EventQUICStream<ErrorQUICStreamLocalRead | ErrorQUICStreamPeerRead | undefined> {}
/** Without a detail: closed by its writer. */
export class EventQUICStreamCloseWrite extends EventQUICStream<ErrorQUICStreamLocalWrite | ErrorQUICStreamPeerWrite | undefined> {}
