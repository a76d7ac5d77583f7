/**
 * Says something first on a stream, before anybody else holds it, and waits until the peer has some of it or has answered: until then it may be
 * said again elsewhere (reverse.md V47). For a stream that was opened so that its first acknowledgement is told. Leaves no style of use behind.
 */
import { waitFor } from '../config/index.ts'
import { BidirectionalStream } from './stream.ts'

/** Resolves when all of `bytes` is accepted and some of it was heard. @throws the error of the part that failed first, the abort reason */
export function sayUntilHeard(stream: BidirectionalStream, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  const { sending, receiving } = BidirectionalStream.halves(stream)
  let said = 0
  return waitFor(signal, (settle) => {
    const look = (): void => {
      if (sending.state === 'open' && said < bytes.length) said += sending.write(bytes, said)
      const isHeard = sending.bytesAcknowledged > 0 || receiving.received > 0 || receiving.complete
      // Who has answered may want no more of it.
      if (isHeard && (said === bytes.length || sending.state !== 'open')) settle.resolve()
      else if (sending.error !== null) settle.reject(sending.error)
      else if (receiving.error !== null) settle.reject(receiving.error)
    }
    const more = (): void => {
      look()
      if (sending.state === 'open' && said < bytes.length) leave = sending.whenRoom(more)
    }
    let leave = (): void => {}
    const reader = { notify: look }
    sending.onProgress = look
    sending.onFailure = look
    receiving.attach(reader)
    more()
    return () => {
      leave()
      sending.onProgress = null
      sending.onFailure = null
      receiving.detach(reader)
    }
  })
}
