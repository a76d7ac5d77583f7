/** The server of a case: offers the files until it is told to stop. */
import { readFile, realpath } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { isQuicbraidError } from '../../index.ts'
import type { Connection, Endpoint, ServerOptions } from '../../index.ts'
import { FileServer, openInside } from '../files/index.ts'
import { Interruption } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import type { InteropCase } from './cases.ts'
import { bindFor, COMMON, named } from './endpoint.ts'
import type { InteropEnvironment } from './environment.ts'
import { handshakeLine } from './facts.ts'

const DRAIN_MS = 500

/** Resolves when a signal has ended it. @throws CommandError with exit 127 if this build lacks what the case needs */
export async function runServer(row: InteropCase, environment: InteropEnvironment, terminal: Terminal): Promise<void> {
  const root = await realpath(environment.www)
  const cert = await readFile(environment.certFile, 'utf8')
  const key = await readFile(environment.keyFile, 'utf8')
  const { listen, preferredAddress } = row.prefersAddress ? withPreferred(environment) : { listen: environment.listen, preferredAddress: [] }
  const server: ServerOptions = { ...COMMON, cert, key, ...row.server, ...(preferredAddress.length > 0 ? { preferredAddress } : {}) }
  using interrupted = new Interruption()
  const endpoint = await bindAnywhere(row, { ...environment, listen }, server, terminal)
  terminal.note(`listening on ${endpoint.local.join(', ')}`)
  const files = new FileServer((path) => openInside(root, path), (connection, { path, bytes, ok, reason }) => {
    terminal.note(`${connection.id.slice(0, 8)} ${path} ${ok ? `${bytes} bytes` : reason}`)
  })
  try {
    for await (const connection of endpoint.incoming({ signal: interrupted.signal })) {
      follow(connection, terminal)
      void files.serve(connection, interrupted.signal)
    }
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
  }
  await endpoint.close({ drainMs: DRAIN_MS })
}

/** A machine without IPv6 cannot bind the default addresses; it serves IPv4. */
async function bindAnywhere(row: InteropCase, environment: InteropEnvironment, server: ServerOptions, terminal: Terminal): Promise<Endpoint> {
  try {
    return await bindFor(environment, { local: environment.listen, server }, terminal)
  } catch (error) {
    if (!environment.isListenDefault || !isQuicbraidError(error) || error.code !== 'QB_BIND_FAILED') throw named(error, row)
    terminal.note(`IPv4 only: ${error.message}`)
    const listen = environment.listen.filter((address) => !address.startsWith('['))
    return bindFor(environment, { local: listen, server }, terminal).catch((again: unknown) => Promise.reject(named(again, row)))
  }
}

/** The second address: the next port of the same sockets' addresses, named by the machine's own addresses. */
function withPreferred(environment: InteropEnvironment): { listen: readonly string[]; preferredAddress: readonly string[] } {
  const { listen, isListenDefault, preferred } = environment
  const second = listen.map(nextPort)
  if (preferred.length > 0) return { listen: [...listen, ...second], preferredAddress: preferred }
  if (!isListenDefault) return { listen: [...listen, ...second], preferredAddress: second }
  const port = (second[0] ?? '').replace(/^.*:/, '')
  const own = Object.values(networkInterfaces()).flat().filter((one) => one !== undefined && !one.internal && !one.address.startsWith('fe80:'))
  const addresses = (['IPv4', 'IPv6'] as const).flatMap((family) => {
    const found = own.find((one) => one?.family === family)?.address
    return found === undefined ? [] : [family === 'IPv6' ? `[${found}]:${port}` : `${found}:${port}`]
  })
  return { listen: [...listen, ...second], preferredAddress: addresses }
}

function nextPort(address: string): string {
  return address.replace(/\d+$/, (port) => String(Number(port) + 1))
}

function follow(connection: Connection, terminal: Terminal): void {
  const name = connection.id.slice(0, 8)
  connection.opened.then((info) => terminal.note(`${name} from ${connection.remote}: ${handshakeLine(info)}`), () => undefined)
  void connection.closed.then(({ codeName, by, error }) => terminal.note(`${name} closed by ${by}${error === null ? '' : `, ${codeName}: ${error.message}`}`))
}
