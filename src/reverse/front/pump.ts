/** Bytes from a readable to a writable with the back-pressure of the writable. No pipe: who uses it counts bytes, and ends and destroys himself. */
import type { Duplex, Readable, Writable } from 'node:stream'

export interface PumpEvents {
  onBytes: (count: number) => void
  onEnd: () => void
}

/** Starts at once; the answer stops it and leaves the readable paused. */
export function pump(from: Readable, to: Writable, { onBytes, onEnd }: PumpEvents): () => void {
  const onDrain = (): void => void from.resume()
  const onData = (chunk: Buffer): void => {
    onBytes(chunk.length)
    if (!to.write(chunk)) from.pause()
  }
  to.on('drain', onDrain)
  from.on('data', onData)
  from.once('end', onEnd)
  return () => {
    to.off('drain', onDrain)
    from.off('data', onData)
    from.off('end', onEnd)
    from.pause()
  }
}

export interface JoinEvents {
  onBytes: (direction: 'up' | 'down', count: number) => void
  /** Both directions have ended; or the error that ended both. Once. */
  onOver: (error: Error | null, who: 'client' | 'upstream') => void
}

/** Joins two duplexes, the end of a direction stays the end of that direction; what breaks on one side is cut on the other by `onOver`'s receiver. */
export function join(client: Duplex, upstream: Duplex, { onBytes, onOver }: JoinEvents): void {
  let over = false
  let ended = 0
  const finish = (error: Error | null, who: 'client' | 'upstream'): void => {
    if (over) return
    over = true
    onOver(error, who)
  }
  const oneWay = (from: Duplex, to: Duplex, direction: 'up' | 'down', who: 'client' | 'upstream'): void => {
    pump(from, to, {
      onBytes: (count) => onBytes(direction, count),
      onEnd: () => {
        to.end()
        ended += 1
        if (ended === 2) finish(null, who)
      },
    })
    from.on('error', (error) => finish(error, who))
    from.once('close', () => finish(ended === 2 ? null : new Error('closed before its end'), who))
  }
  oneWay(client, upstream, 'up', 'client')
  oneWay(upstream, client, 'down', 'upstream')
}
