/** What a server gave for later connections goes to its place; told when it is stored. */
import type { NativeEvent } from '../binding/index.ts'
import type { SessionPlace } from './origin.ts'

export function keepSession(place: SessionPlace | null, event: Extract<NativeEvent, { type: 'token' | 'tickets' }>, stored: (type: 'token-stored' | 'session-stored') => void): void {
  if (event.type === 'token') void place?.putToken(new Uint8Array(Buffer.from(event.bytes, 'hex'))).then(() => stored('token-stored'))
  else void place?.putTickets(event.count).then(() => stored('session-stored'))
}
