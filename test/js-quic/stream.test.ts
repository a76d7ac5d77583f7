/** The façade's streams, by what js-quic's tests of QUICStream name. */
import { afterEach, describe, expect, it } from 'vitest'
import { errors, events } from '../../src/js-quic/index.ts'
import type { QUICConnection, QUICStream } from '../../src/js-quic/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { PATIENCE, closeAll, connected, createdClient, echoing, next, nextStream, recorded, startedServer, startedSocket, textOf, until, written } from './harness.ts'
import type { Both } from './harness.ts'

afterEach(closeAll)

const MESSAGE = 'The Quick Brown Fox Jumped Over The Lazy Dog'
const STREAMS = 10

describe.skipIf(!MODULE_BUILT)('streams', () => {
  it('are created, and told to the peer with their first bytes', PATIENCE, async () => {
    const { near, far } = await connected()
    const arrived: QUICStream[] = []
    far.addEventListener(events.EventQUICConnectionStream.name, ({ detail }: events.EventQUICConnectionStream) => arrived.push(detail))
    const ids: number[] = []
    for (let i = 0; i < STREAMS; i += 1) {
      const stream = near.newStream(i % 2 === 0 ? 'bidi' : 'uni')
      ids.push(stream.streamId)
      await written(stream, 'Hello!')
    }
    await until(() => arrived.length === STREAMS)
    expect(ids).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18])
    expect(new Set(arrived.map(({ streamId }) => streamId))).toEqual(new Set(ids))
    expect(arrived.map(({ initiated }) => initiated)).toEqual(ids.map(() => 'peer'))
  })

  it('of the server have its ids', PATIENCE, async () => {
    const { near, far } = await connected()
    const arrives = nextStream(near)
    const stream = far.newStream('uni')
    await written(stream, 'x')
    expect([stream.streamId, (await arrives).streamId, stream.type, stream.initiated]).toEqual([3, 3, 'uni', 'local'])
  })

  it('carry what is sent, both ways, in turns', PATIENCE, async () => {
    const { near, far } = await connected()
    const echo = echoing(far)
    await Promise.all(Array.from({ length: STREAMS }, async () => {
      const stream = near.newStream()
      const [writer, reader] = [stream.writable.getWriter(), stream.readable.getReader()]
      for (let i = 0; i < STREAMS; i += 1) {
        await writer.write(Buffer.from(MESSAGE))
        expect(await reader.read()).toEqual({ done: false, value: Buffer.from(MESSAGE) })
      }
      await writer.close()
      expect((await reader.read()).done).toBe(true)
      await stream.closedP
    }))
    await until(() => echo.ended === STREAMS)
  })

  it('in one direction close the other at once', PATIENCE, async () => {
    const { near, far } = await connected()
    const arrives = nextStream(far)
    const stream = near.newStream('uni')
    expect(await stream.readable.getReader().read()).toEqual({ done: true, value: undefined })
    const writer = stream.writable.getWriter()
    await writer.write(Buffer.from(MESSAGE))
    await writer.close()
    await stream.closedP
    const other = await arrives
    await other.writable.getWriter().closed
    expect(await textOf(other)).toBe(MESSAGE)
    await other.closedP
  })

  it('carry much more than the windows', PATIENCE, async () => {
    const windows = { initialMaxData: 65_536, initialMaxStreamDataBidiLocal: 65_536, initialMaxStreamDataBidiRemote: 65_536, initialMaxStreamDataUni: 65_536, maxConnectionWindow: 131_072, maxStreamWindow: 65_536 }
    const { near, far } = await connected({ atServer: { config: windows }, atClient: { config: windows } })
    echoing(far)
    const stream = near.newStream()
    const bytes = Buffer.alloc(2_000_000, 'quicbraid')
    const reading = textOf(stream)
    const writer = stream.writable.getWriter()
    await writer.write(bytes)
    await writer.close()
    expect(await reading === bytes.toString()).toBe(true)
  })

  it('beyond the peer\'s limit wait for their first write', PATIENCE, async () => {
    const { near, far } = await connected({ atServer: { config: { initialMaxStreamsBidi: 2 } } })
    echoing(far)
    const texts = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const stream = near.newStream()
      const writer = stream.writable.getWriter()
      await writer.write(Buffer.from(`${i}`))
      await writer.close()
      return textOf(stream)
    }))
    expect(texts).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`))
  })

  it('know the ends of their connection', PATIENCE, async () => {
    const { near, far, client, server } = await connected()
    const arrives = nextStream(far)
    const stream = near.newStream()
    await written(stream, 'Hello!')
    expect(stream.meta).toMatchObject({ localHost: client.localHost, localPort: client.localPort, remoteHost: server.host, remotePort: server.port })
    expect((await arrives).meta).toMatchObject({ localHost: server.host, localPort: server.port, remoteHost: client.localHost, remotePort: client.localPort })
    expect(stream.meta.remoteCertsChain).toHaveLength(1)
  })

  it('tell their end as events, also to their connection and client', PATIENCE, async () => {
    const { near, far, client } = await connected()
    echoing(far)
    const names = Object.keys(events).filter((name) => name.startsWith('EventQUICStream'))
    const stream = near.newStream()
    const seen = [stream, near, client].map((target) => recorded(target, names))
    const writer = stream.writable.getWriter()
    await writer.write(Buffer.from('x'))
    await writer.close()
    await textOf(stream)
    await stream.destroy()
    for (const list of seen) expect(list).toEqual(['EventQUICStreamCloseWrite', 'EventQUICStreamCloseRead', 'EventQUICStreamDestroy', 'EventQUICStreamDestroyed'])
  })

  it('tell their destruction first when it was asked for', PATIENCE, async () => {
    const { stream } = await openPair()
    const seen = recorded(stream, Object.keys(events))
    await stream.destroy()
    await stream.destroy()
    expect(seen).toEqual(['EventQUICStreamDestroy', 'EventQUICStreamCloseRead', 'EventQUICStreamError', 'EventQUICStreamCloseWrite', 'EventQUICStreamError', 'EventQUICStreamDestroyed'])
  })

  it('end when they wait for more', PATIENCE, async () => {
    const { stream, other } = await openPair()
    const reader = other.readable.getReader()
    await reader.read()
    reader.releaseLock()
    await stream.writable.close()
    await other.writable.close()
    await Promise.all([stream.closedP, other.closedP])
  })
})

describe.skipIf(!MODULE_BUILT)('reasons and codes', () => {
  const REASON = Symbol('reason')
  const codes = {
    reasonToCode: (_: 'read' | 'write', reason?: unknown): number => (reason === REASON ? 2 : 1),
    codeToReason: (type: 'read' | 'write', code: number): unknown => (code === 2 ? REASON : new Error(`${type} ${code}`)),
  }
  const mapped = (): Promise<Both & { stream: QUICStream; other: QUICStream }> => openPair(codes)

  it('of an aborted writer reach the reader', PATIENCE, async () => {
    const { stream, other } = await mapped()
    const [writer, reader] = [stream.writable.getWriter(), other.readable.getReader()]
    await reader.read()
    const error = next<events.EventQUICStreamError>(other, events.EventQUICStreamError.name)
    await writer.abort(REASON)
    await expect(reader.read()).rejects.toBe(REASON)
    expect((await error).detail).toMatchObject({ name: 'ErrorQUICStreamPeerRead', data: { code: 2 }, cause: REASON })
    await expect(writer.write(Buffer.from('x'))).rejects.toBe(REASON)
  })

  it('of a cancelled reader reach the writer', PATIENCE, async () => {
    const { stream, other } = await mapped()
    const [reader, writer] = [stream.readable.getReader(), other.writable.getWriter()]
    const [here, there] = [stream, other].map((target) => next<events.EventQUICStreamError>(target, events.EventQUICStreamError.name))
    await reader.cancel(REASON)
    await expect(writer.closed).rejects.toBe(REASON)
    await expect(writer.write(Buffer.from('x'))).rejects.toBe(REASON)
    expect((await here)?.detail).toMatchObject({ name: 'ErrorQUICStreamLocalRead', data: { code: 2 }, cause: REASON })
    expect((await there)?.detail).toMatchObject({ name: 'ErrorQUICStreamPeerWrite', data: { code: 2 }, cause: REASON })
  })

  it('without converters are 0 and an error with the code', PATIENCE, async () => {
    const { stream, other } = await openPair()
    stream.cancel(new Error('mine'))
    await expect(textOf(other)).rejects.toThrow('read 0')
    await expect(other.writable.getWriter().closed).rejects.toThrow('write 0')
    await expect(stream.readable.getReader().read()).rejects.toThrow('mine')
  })

  it('of a cancelled stream reach both sides of the peer', PATIENCE, async () => {
    const { stream, other } = await mapped()
    stream.cancel(REASON)
    await expect(stream.readable.getReader().read()).rejects.toBe(REASON)
    await expect(stream.writable.getWriter().write(Buffer.from('x'))).rejects.toBe(REASON)
    await expect(textOf(other)).rejects.toBe(REASON)
    await expect(other.writable.getWriter().closed).rejects.toBe(REASON)
    await Promise.all([stream.closedP, other.closedP])
    expect([stream.closed, other.closed]).toEqual([true, true])
  })

  it('of a stream that was cancelled before it sent anything as well', PATIENCE, async () => {
    const { near, far } = await connected({ atServer: codes, atClient: codes })
    const arrives = nextStream(far)
    const stream = near.newStream()
    stream.cancel(REASON)
    const other = await arrives
    await expect(textOf(other)).rejects.toBe(REASON)
    await Promise.all([stream.closedP, other.closedP])
  })

  it('cross when both ends cancel', PATIENCE, async () => {
    const { stream, other } = await mapped()
    stream.cancel(REASON)
    other.cancel(REASON)
    for (const one of [stream, other]) {
      await expect(one.readable.getReader().read()).rejects.toBe(REASON)
      await expect(one.writable.getWriter().write(Buffer.from('x'))).rejects.toBe(REASON)
      await one.closedP
    }
  })

  it('reach a reader that does not read and a writer that is blocked', PATIENCE, async () => {
    const { stream, other } = await mapped()
    const [writer, far] = [stream.writable.getWriter(), other.writable.getWriter()]
    const blocked = writer.write(Buffer.alloc(30_000_000)).catch((error: unknown) => error)
    await far.write(Buffer.from('unread'))
    await writer.abort(REASON)
    await far.abort(REASON)
    expect(await blocked).toBe(REASON)
    await Promise.all([stream.closedP, other.closedP])
  })

  it('that are no codes are an error of the caller', PATIENCE, async () => {
    const { near } = await connected({ atClient: { reasonToCode: () => -1 } })
    const stream = near.newStream()
    expect(() => stream.cancel('x')).toThrow(errors.ErrorQUICStreamInternal)
    await stream.writable.abort('x')
    await near.stop()
  })
})

describe.skipIf(!MODULE_BUILT)('streams and the end of their connection', () => {
  const used = async (both: Both): Promise<{ streams: QUICStream[]; echo: { opened: number; ended: number } }> => {
    const echo = echoing(both.far)
    const streams: QUICStream[] = []
    for (let i = 0; i < STREAMS; i += 1) {
      const stream = both.near.newStream()
      streams.push(stream)
      await written(stream, MESSAGE)
    }
    await until(() => echo.opened === STREAMS)
    return { streams, echo }
  }
  const allOver = async (streams: QUICStream[], echo: { ended: number }): Promise<void> => {
    await Promise.all(streams.map(({ closedP }) => closedP))
    await until(() => echo.ended === STREAMS)
  }

  it('destroyed streams are gone on both ends', PATIENCE, async () => {
    const both = await connected()
    const { streams, echo } = await used(both)
    await Promise.all(streams.map((stream) => stream.destroy()))
    await allOver(streams, echo)
    expect(both.near.running).toBe(true)
  })

  it.each<[string, (both: Both) => Promise<void>]>([
    ['the local end', ({ client }) => client.destroy({ force: true })],
    ['the peer', ({ far }) => far.stop({ force: true })],
    ['the server', ({ server }) => server.stop()],
  ])('streams end with a connection that %s stops', PATIENCE, async (_, end) => {
    const both = await connected()
    const { streams, echo } = await used(both)
    await end(both)
    await allOver(streams, echo)
    for (const stream of streams) await expect(stream.writable.getWriter().write(Buffer.from('x'))).rejects.toBeInstanceOf(errors.ErrorQUICConnection)
  })

  it('streams end with a connection that times out', PATIENCE, async () => {
    const both = await connected({ atServer: { config: { maxIdleTimeout: 300 } } })
    const { streams, echo } = await used(both)
    await allOver(streams, echo)
    await expect(streams[0]?.writable.getWriter().write(Buffer.from('x'))).rejects.toBeInstanceOf(errors.ErrorQUICConnectionIdleTimeout)
  })

  it.each<[string, (both: Both) => Promise<void>]>([
    ['client', ({ client }) => client.destroy({ force: false })],
    ['server', ({ server }) => server.stop({ force: false })],
  ])('with force: false the %s lets streams come to their end', PATIENCE, async (_, stop) => {
    const both = await connected()
    const { streams, echo } = await used(both)
    let over = false
    const stopped = stop(both).then(() => { over = true })
    for (const stream of streams) {
      const reader = stream.readable.getReader()
      const writer = stream.writable.getWriter()
      await writer.write(Buffer.from(MESSAGE))
      expect(over).toBe(false)
      await writer.close()
      let text = ''
      for (let read = await reader.read(); !read.done; read = await reader.read()) text += Buffer.from(read.value).toString()
      expect(text).toBe(MESSAGE + MESSAGE)
    }
    await stopped
    expect(echo.ended).toBe(STREAMS)
  })

  it('new streams are refused while the connection stops', PATIENCE, async () => {
    const { near, far } = await connected()
    echoing(far)
    const stream = near.newStream()
    await written(stream, MESSAGE)
    await stream.readable.getReader().read()
    const stopped = near.stop({ force: false })
    expect(() => near.newStream()).toThrow(errors.ErrorQUICConnectionNotRunning)
    const late = far.newStream()
    const writer = late.writable.getWriter()
    void writer.write(Buffer.from('late')).catch(() => {})
    await expect(writer.closed).rejects.toThrow('write 0')
    near.destroyStreams(new Error('enough'))
    await stopped
  })

  it('what was sent whole can be read after the end', PATIENCE, async () => {
    const { far, near } = await connected()
    const arrives = nextStream(far)
    const stream = near.newStream('uni')
    const writer = stream.writable.getWriter()
    await writer.write(Buffer.from(MESSAGE))
    await writer.close()
    const other = await arrives
    await near.stop({ force: false })
    await far.closedP
    expect(await textOf(other)).toBe(MESSAGE)
  })
})

async function openPair(both: { reasonToCode?: (type: 'read' | 'write', reason?: unknown) => number; codeToReason?: (type: 'read' | 'write', code: number) => unknown } = {}): Promise<Both & { stream: QUICStream; other: QUICStream }> {
  const pair = await connected({ atServer: both, atClient: both })
  const arrives = nextStream(pair.far)
  const stream = pair.near.newStream()
  await written(stream, 'hello')
  return { ...pair, stream, other: await arrives }
}

describe.skipIf(!MODULE_BUILT)('concurrency', () => {
  const talk = async (connection: QUICConnection): Promise<void> => {
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const stream = connection.newStream()
      const reading = textOf(stream)
      const writer = stream.writable.getWriter()
      for (let round = 0; round <= i; round += 1) await writer.write(Buffer.from(MESSAGE))
      await writer.close()
      expect(await reading).toBe(MESSAGE.repeat(i + 1))
    }))
  }

  it('many clients of a server, each on a socket of its own, or all on one', PATIENCE, async () => {
    const server = await startedServer()
    server.addEventListener(events.EventQUICServerConnection.name, ({ detail }: events.EventQUICServerConnection) => { echoing(detail) })
    const own = await Promise.all(Array.from({ length: 5 }, () => createdClient(server)))
    await Promise.all(own.map(({ connection }) => talk(connection)))
    const socket = await startedSocket()
    const shared = await Promise.all(Array.from({ length: 5 }, () => createdClient(server, { socket })))
    await Promise.all(shared.map(({ connection }) => talk(connection)))
    expect(new Set(shared.map(({ localPort }) => localPort))).toEqual(new Set([socket.port]))
    await Promise.all([...own, ...shared].map((client) => client.destroy()))
  })
})
