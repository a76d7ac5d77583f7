// The same from TypeScript, as strict as it goes; compiled to both module systems, then run.
import { createDevCertificate, Endpoint, isQuicbraidError } from 'quicbraid'
import type { Connection, ConnectionOptions, ReceivePart, SendPart, ServerOptions } from 'quicbraid'
import { World } from 'quicbraid/sim'

async function echo(server: Endpoint): Promise<void> {
  for await (const connection of server.incoming()) {
    for await (const stream of connection.incomingBidirectional()) return stream.readable.pipeTo(stream.writable)
  }
}

async function ask(connection: Connection, text: string): Promise<string> {
  const stream = await connection.openBidirectional()
  await say(stream, text)
  return read(stream)
}

async function say(stream: SendPart, text: string): Promise<void> {
  const accepted: number = stream.write(new TextEncoder().encode(text))
  if (accepted !== text.length) throw new Error('not all accepted')
  stream.end()
  await stream.finished
}

async function read(stream: ReceivePart): Promise<string> {
  return new TextDecoder().decode(await stream.bytes())
}

async function main(): Promise<void> {
  const { cert, key } = createDevCertificate()
  const terms: ServerOptions = { cert, key, alpn: 'echo' }
  const server = await Endpoint.bind({ local: '127.0.0.1:0', server: terms })
  const echoed = echo(server)
  const client = await Endpoint.bind()
  const options: ConnectionOptions = { alpn: 'echo', ca: cert }
  const connection = await client.connect(server.local[0] ?? '', options)
  connection.events$.subscribe(({ type, atMs }) => void `${type} ${atMs.toFixed()}`)
  const answer = await ask(connection, 'over quic')
  await echoed
  await Promise.all([client.close(), server.close()])
  const refused: unknown = await client.connect('127.0.0.1:1', options).catch((error: unknown) => error)
  console.log(answer, client.driver, isQuicbraidError(refused) && refused.code, typeof World.pair)
}

void main()
