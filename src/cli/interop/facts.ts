/** How a handshake went, in one line for the log. */
import type { HandshakeInfo } from '../../index.ts'
import { formatMs } from '../format.ts'

export function handshakeLine(info: HandshakeInfo): string {
  const facts = [info.version, info.cipher, ...(info.resumed ? ['resumed'] : []), ...(info.retry ? ['after a Retry'] : [])]
  return `handshake ${formatMs(info.ms)}, ${facts.join(', ')}`
}
