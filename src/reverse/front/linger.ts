/**
 * The end of connections of HTTP/2. A session that is over has ended its side and waits for the other end to do the same; one whose client made an
 * error is not read any more and tells nobody, not even when the client has gone (Node stops reading when nghttp2 wants nothing more). This waits no longer than it must.
 */
import type { Http2Session, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { REAL_TIME, backgroundClock } from '../../config/index.ts'

export const LINGER_MS = 2000

/** Once this side of `socket` has ended, the other end has so long to end its own. Not for connections of which one direction may outlive the other. */
export function endsInTime(socket: Socket): void {
  socket.once('finish', () => void socket.once('close', REAL_TIME.after(LINGER_MS, () => void socket.destroy())))
}

/**
 * Lets `close` of a session wait for its own turn of the event loop. Node calls it from within the reading of a peer's GOAWAY, and a session with nothing
 * to do ends while nghttp2 reads on: in Node 20 a GOAWAY between two requests corrupts memory, and nghttp2 or malloc aborts the process.
 */
export function closesInOwnTurn(session: Http2Session): void {
  const close = session.close.bind(session)
  session.close = (callback) => REAL_TIME.soon(() => close(callback))
}

/** Says GOAWAY when there was no request for `idleMs`, and ends the connection whatever becomes of that. */
export function closesWhenIdle(session: ServerHttp2Session, socket: Socket, idleMs: number): void {
  let open = 0
  let timer: unknown = null
  const stop = (): void => backgroundClock.clearTimeout(timer)
  const arm = (): void => {
    stop()
    if (!socket.destroyed) timer = backgroundClock.setTimeout(onIdle, idleMs)
  }
  const onIdle = (): void => {
    session.close()
    timer = backgroundClock.setTimeout(() => void socket.destroy(), LINGER_MS)
  }
  session.on('stream', (stream: ServerHttp2Stream) => {
    open += 1
    stop()
    stream.once('close', () => {
      open -= 1
      if (open === 0) arm()
    })
  })
  socket.once('close', stop)
  arm()
}
