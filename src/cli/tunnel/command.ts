/** `quicbraid tunnel`: TCP through QUIC from the command line. This file knows the options; `client.ts` and `server.ts` do the work. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { usageError } from '../exit.ts'
import { formatMs } from '../format.ts'
import { parsePin } from '../identity.ts'
import { addObserve, addTransport, addTrust, collectParsed, parsed } from '../options.ts'
import type { ObserveValues, TransportValues, TrustValues } from '../options.ts'
import { parseCount, parseLocal, parsePath, parseTime } from '../parse.ts'
import type { PathArgument } from '../parse.ts'
import type { Context } from '../program.ts'
import { runClient } from './client.ts'
import { runServer } from './server.ts'
import { parseAllow, parseAllowListen, parseForward, parseReconnect, parseSocks } from './specs.ts'
import type { Allowed, Bind, Forward } from './specs.ts'

export interface TunnelValues extends TrustValues, TransportValues, ObserveValues {
  local?: Forward[]
  remote?: Forward[]
  dynamic?: Bind[]
  socksUser?: string
  reconnect: number
  keepalive: number
  paths?: 'auto' | PathArgument[]
  carrier: 'udp' | 'header'
  server?: true
  listen?: string
  allow?: Allowed[]
  allowListen?: Allowed[]
  clientCa?: string
  clientPin?: string[]
  insecureAnyone?: true
  proxyProtocol?: 'v2'
  maxBridges?: number
  maxBridgesPerPeer?: number
}

/** Of a client alone, by the name of their value. */
const CLIENT_OPTIONS = { local: '-L', remote: '-R', dynamic: '-D', socksUser: '--socks-user', paths: '--paths', path: '--path', pin: '--pin', ca: '--ca', insecure: '--insecure', servername: '--servername', handshake: '--handshake', connectTimeout: '--connect-timeout' } as const
/** Of a server alone. */
const SERVER_OPTIONS = {
  listen: '--listen', allow: '--allow', allowListen: '--allow-listen', clientCa: '--client-ca', clientPin: '--client-pin', insecureAnyone: '--insecure-anyone', proxyProtocol: '--proxy-protocol', maxBridges: '--max-bridges', maxBridgesPerPeer: '--max-bridges-per-peer',
} as const

const PORT = 4433
/** What a reverse connection takes as its ping. */
const LEAST_PING_MS = 100
const MOST_PING_MS = 600_000

export function addTunnel(program: Command, { terminal, end }: Context): void {
  const command = program.command('tunnel')
    .description('TCP and UDP ports through QUIC: -L, -R, -D as ssh has them, or the server of it')
    .argument('[server]', `HOST[:PORT] of the server (port ${PORT})`)
    .option('-L, --local <spec>', '[udp:][BIND:]PORT:HOST:HOSTPORT: listen here, go there from the server; repeatable', collectParsed((text) => parseForward('-L', text)))
    .option('-R, --remote <spec>', '[BIND:]PORT:HOST:HOSTPORT: the server listens, go there from here; repeatable', collectParsed((text) => parseForward('-R', text)))
    .option('-D, --dynamic <spec>', '[BIND:]PORT: a SOCKS5 proxy here, which goes anywhere that the server allows; repeatable', collectParsed(parseSocks))
    .option('--socks-user <user:password>', 'what clients of -D have to show')
    .addOption(new Option('--reconnect <how>', 'off, or max=N failures in a row').argParser(parsed(parseReconnect)).default(Infinity, 'max=inf'))
    .addOption(new Option('--keepalive <time>', 'a PING after so much silence').argParser(parsed(parseTime)).default(25_000, '25s'))
    .option('--paths <list>', 'auto (every interface), or LOCAL[=REMOTE],…: the network paths to use', parsed(parsePaths))
    .addOption(new Option('--carrier <kind>', 'udp; header is for programs that bring their own datagrams').choices(['udp', 'header']).default('udp'))
    .option('--server', 'be the server')
    .option('-l, --listen <addr>', `server: IP[:PORT] (0.0.0.0:${PORT})`, parsed((text) => parseLocal(text, PORT)))
    .option('--allow <host:port>', 'server: a target clients may go to, [udp:]HOST:PORT or [udp:]HOST:FIRST-LAST; repeatable; without it none', collectParsed(parseAllow))
    .option('--allow-listen <port>', 'server: a port that -R may open here, [BIND:]PORT or [BIND:]FIRST-LAST; repeatable; without it none', collectParsed(parseAllowListen))
    .option('--client-ca <file>', 'server: whoever shows a certificate that this authority signed')
    .option('--client-pin <pin>', 'server: whoever has this key (sha256//...) or certificate (64 hex digits); repeatable', collectParsed(parsePin))
    .option('--insecure-anyone', 'server: anybody')
    .addOption(new Option('--proxy-protocol <version>', 'server: tell targets who comes').choices(['v2']))
    .option('--max-bridges <n>', 'server: TCP connections at once (1024)', parsed((text) => parseCount(text, 1, 1_000_000)))
    .option('--max-bridges-per-peer <n>', 'server: of one client (256)', parsed((text) => parseCount(text, 1, 1_000_000)))
  addObserve(addTransport(addTrust(command), { connect: '10s, with the server\'s yes', idle: 'three times --keepalive; server: 5 minutes' }))
  command.action(async (server: string | undefined, values: TunnelValues) => {
    if (values.server === true && command.getOptionValueSource('reconnect') === 'cli') throw usageError('--reconnect is an option of clients, not of --server')
    check(server, values)
    end(server === undefined ? await runServer(values, terminal) : await runClient(server, values, terminal))
  })
}

/** `--paths auto|LIST`. @throws a usage error */
export function parsePaths(text: string): 'auto' | PathArgument[] {
  if (text === 'auto') return 'auto'
  const words = text.split(',')
  if (words.includes('backup')) throw usageError(`'${text}' has a backup, which is said with --path: --path LOCAL,backup`)
  return words.map(parsePath)
}

/** Which end it is, and whether all fits that. */
function check(server: string | undefined, values: TunnelValues): void {
  if (values.carrier === 'header') throw usageError('--carrier header: on the command line datagrams go over UDP; carriers with the header are for programs that bring datagrams of their own (headerCarrier of quicbraid/tunnel)')
  const given = (options: Readonly<Record<string, string>>): string | undefined => Object.entries(options).find(([name]) => values[name as keyof TunnelValues] !== undefined)?.[1]
  if (values.server === true) {
    const wrong = given(CLIENT_OPTIONS)
    if (server !== undefined) throw usageError(`--server takes no HOST ('${server}'); the address to listen on is -l`)
    if (values.allowListen !== undefined && values.insecureAnyone === true) throw usageError('--allow-listen opens ports for clients that are known: --client-ca FILE or --client-pin PIN')
    if (wrong !== undefined) throw usageError(`${wrong} is an option of clients, not of --server`)
    return
  }
  const wrong = given(SERVER_OPTIONS)
  if (wrong !== undefined) throw usageError(`${wrong} is an option of --server`)
  if (server === undefined) throw usageError('say which server: quicbraid tunnel -L 8080:HOST:80 SERVER[:PORT]; or be one with --server')
  if (values.local === undefined && values.remote === undefined && values.dynamic === undefined) throw usageError('say what to carry: -L [BIND:]PORT:HOST:HOSTPORT, -D [BIND:]PORT or -R [BIND:]PORT:HOST:HOSTPORT')
  if (values.paths !== undefined && values.path !== undefined) throw usageError('--paths and --path say the same thing; use one of them')
  if (values.remote !== undefined && (values.keepalive < LEAST_PING_MS || values.keepalive > MOST_PING_MS)) throw usageError(`--keepalive: with -R it is from ${formatMs(LEAST_PING_MS)} to ${formatMs(MOST_PING_MS)}`)
  if (values.remote !== undefined && (values.cert === undefined || values.key === undefined)) throw usageError('-R needs a client certificate: --cert FILE --key FILE')
  if (values.socksUser !== undefined && values.dynamic === undefined) throw usageError('--socks-user belongs to -D')
}
