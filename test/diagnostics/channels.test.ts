import diagnostics from 'node:diagnostics_channel'
import { afterEach, describe, expect, it } from 'vitest'
import { connectedPair, streamPair, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

const NAMES = ['endpoint:open', 'endpoint:event', 'endpoint:closed', 'connection:open', 'connection:event', 'connection:closed', 'path:event', 'stream:open', 'stream:closed'].map((name) => `quicbraid:${name}`)
const CONNECT = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((name) => `tracing:quicbraid:connect:${name}`)

let stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

function listen(names: readonly string[], onMessage: (name: string, message: Record<string, unknown>) => void): void {
  for (const name of names) {
    const subscriber = (message: unknown): void => onMessage(name, message as Record<string, unknown>)
    diagnostics.subscribe(name, subscriber)
    stops.push(() => void diagnostics.unsubscribe(name, subscriber))
  }
}

describe('diagnostics_channel', () => {
  it('tells of endpoints, connections, paths and streams, with the public objects', async () => {
    const seen: { name: string; message: Record<string, unknown> }[] = []
    listen(NAMES, (name, message) => void seen.push({ name, message }))
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    mine.end()
    theirs.end()
    await Promise.all([mine.bytes(), theirs.bytes()])
    await until(() => seen.some(({ name, message }) => name === 'quicbraid:stream:closed' && message['connection'] === pair.near))
    await pair.near.close()
    await pair.done()
    const of = (name: string): Record<string, unknown>[] => seen.filter((one) => one.name === `quicbraid:${name}`).map(({ message }) => message)
    expect(of('endpoint:open').map(({ endpoint }) => endpoint)).toEqual([pair.server, pair.client])
    expect(of('connection:open')).toEqual([{ endpoint: pair.client, connection: pair.near }, { endpoint: pair.server, connection: pair.far }])
    expect(of('connection:event').filter(({ connection }) => connection === pair.near).map(({ event }) => (event as { type: string }).type)).toEqual(expect.arrayContaining(['opened', 'stream', 'closing']))
    expect(of('path:event').map(({ connection }) => connection)).toContain(pair.near)
    expect(of('stream:open')).toContainEqual({ connection: pair.near, id: mine.id, direction: 'bidi', initiated: 'local' })
    expect(of('stream:open')).toContainEqual({ connection: pair.far, id: mine.id, direction: 'bidi', initiated: 'peer' })
    expect(of('stream:closed').filter(({ connection }) => connection === pair.near)).toEqual([{ connection: pair.near, id: mine.id }])
    expect(of('connection:closed')).toContainEqual({ connection: pair.near, info: await pair.near.closed })
    expect(of('endpoint:closed')).toContainEqual({ endpoint: pair.client, error: null })
  })

  it('traces connect, from the call to the connection or its error', async () => {
    const seen: { name: string; message: Record<string, unknown> }[] = []
    listen(CONNECT, (name, message) => void seen.push({ name: name.split(':').at(-1) ?? '', message }))
    const { client, server, near, done } = await connectedPair()
    expect(seen.map(({ name }) => name)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    expect(seen[3]?.message).toMatchObject({ endpoint: client, remote: server.local[0], result: near })
    seen.length = 0
    await expect(client.connect('nowhere', { alpn: 'test' })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID' })
    expect(seen.map(({ name }) => name)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
    expect(seen[2]?.message['error']).toMatchObject({ code: 'QB_OPTION_INVALID' })
    await done()
  })

  it('is not disturbed by subscribers that throw: Node reports them, the connection goes on', async () => {
    const known = process.listeners('uncaughtException')
    const reported: unknown[] = []
    const report = (error: unknown): void => void reported.push(error)
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', report)
    try {
      const error = new Error('from a subscriber')
      listen([...NAMES, ...CONNECT], () => {
        throw error
      })
      const pair = await connectedPair()
      const { mine, theirs } = await streamPair(pair)
      mine.end()
      expect(await theirs.bytes()).toEqual(Uint8Array.of(0))
      await pair.near.close()
      expect((await pair.near.closed).error).toBeNull()
      await pair.done()
      await turns(2)
      expect(reported.length).toBeGreaterThan(5)
      expect(new Set(reported)).toEqual(new Set([error]))
    } finally {
      process.off('uncaughtException', report)
      for (const listener of known) process.on('uncaughtException', listener)
    }
  })

  it('publishes nothing to a channel without subscribers', async () => {
    listen(['quicbraid:stream:open'], () => undefined)
    const published: string[] = []
    for (const name of NAMES) {
      const channel = diagnostics.channel(name)
      if (channel.hasSubscribers) continue
      const publish = channel.publish.bind(channel)
      channel.publish = (message) => {
        published.push(name)
        publish(message)
      }
      stops.push(() => void Reflect.deleteProperty(channel, 'publish'))
    }
    const { done } = await connectedPair()
    await done()
    expect(published).toEqual([])
  })
})
