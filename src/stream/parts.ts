/** What streams have in common by direction, for programs that take either kind. Types only. */
import type { BidirectionalStream, SendStream } from './stream.ts'

/** Writing: of a `SendStream` and of a `BidirectionalStream`. */
export interface SendPart extends Pick<SendStream, 'writable' | 'write' | 'ready' | 'end' | 'finished' | 'reset' | 'setPriority' | 'pin' | 'bytesWritten' | 'bytesAcknowledged'> {}

/** Reading: of a `ReceiveStream` and of a `BidirectionalStream`. */
export interface ReceivePart extends Pick<BidirectionalStream, 'readable' | 'borrow' | 'bytes' | 'stop' | 'bytesReceived' | typeof Symbol.asyncIterator> {}
