/** `quicbraid nat punch [PEER]`: two ends meet over a relay and move to a direct path; shows every step. Without PEER it waits and prints its address. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { createDevCertificate, Endpoint } from '../../index.ts'
import type { Connection, ConnectionOptions, EndpointOptions, Waiting } from '../../index.ts'
import { registerRelay } from '../../traversal/index.ts'
import type { TraversalOptions } from '../../traversal/index.ts'
import { upTo } from '../clock.ts'
import { asCommandError, CommandError, Exit } from '../exit.ts'
import { addObserve, addTrust, observeOptions, openMetrics, trustOptions } from '../options.ts'
import type { ObserveValues, TrustValues } from '../options.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { addRelayTrust, relayToken, relayTrust } from '../relay/index.ts'
import type { RelayTrustValues } from '../relay/index.ts'
import { interruption, Interruption } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { loadStrategy } from './strategy.ts'
import { Meeting } from './punch-meeting.ts'
import { PUNCH_ALPN } from './punch-talk.ts'
import { resultLines } from './punch-view.ts'
import type { PunchResult } from './punch-view.ts'

export interface PunchValues extends TrustValues, RelayTrustValues, ObserveValues {
  relay: string
  local?: string
  name?: string
  strategy?: string
  portSearch?: true
  allowPrivate?: true
}

const DRAIN_MS = 2000

export function addPunch(nat: Command, { terminal, end }: Context): void {
  const command = nat.command('punch').description('meet a peer over a relay, then without it; without PEER wait to be dialled')
    .argument('[peer]', 'what the waiting end has printed: RELAY-OUTER, e.g. 203.0.113.1:4434-198.51.100.7:5000')
    .requiredOption('--relay <host:port>', 'where both ends register (`quicbraid relay`)')
  addRelayTrust(command, 'as the peer')
    .option('--local <addr>', 'address of ours, with or without a port (any)')
    .option('--name <name>', 'what the other end is told about us')
    .option('--strategy <file>', "punch by one's own plan: a file (.ts, .mjs, .js) that exports `strategy`")
    .option('--port-search', 'allow the search of ports, up to 1000 probes')
    .option('--allow-private', 'also tell and try addresses that are not globally routable (those of one site are tried anyway)')
  addObserve(addTrust(command))
  command.action(async (peer: string | undefined, values: PunchValues) => end(await punch(peer, values, terminal)))
}

async function punch(peer: string | undefined, values: PunchValues, terminal: Terminal): Promise<typeof Exit.DONE> {
  const trust = await trustOptions(values, terminal)
  const relayTls = await relayTrust(values, trust)
  const token = relayToken(values)
  const traversal: TraversalOptions = {
    relays: [values.relay], relayTls,
    ...(token === undefined ? {} : { relayToken: token }),
    ...(values.strategy === undefined ? {} : { strategy: await loadStrategy(values.strategy) }),
    ...(values.portSearch === true ? { portSearch: true } : {}),
    ...(values.allowPrivate === true ? { privateTargets: 'always' } : {}),
  }
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const options: EndpointOptions = { ...observeOptions(values, terminal), local: values.local ?? (values.relay.startsWith('[') ? '[::]:0' : '0.0.0.0:0') }
  const show = (line: string): void => void (values.json !== true && values.quiet !== true && terminal.result(line))
  const { signal } = interrupted
  const identity = peer === undefined ? await ownIdentity(values) : null
  const endpoint = await Endpoint.bind(identity === null ? options : { ...options, server: { cert: identity.cert, key: identity.key, alpn: PUNCH_ALPN, traversal } })
  metrics?.watch(endpoint)
  const meeting = new Meeting(endpoint, values.name ?? '', terminal.colors, show)
  try {
    const connection = peer === undefined
      ? await wait(endpoint, meeting, { values, traversal, pin: identity?.pin ?? null, signal }, terminal)
      : await dial(endpoint, meeting, peer, { ...trust, alpn: PUNCH_ALPN, traversal, signal })
    await meeting.attend(connection, peer === undefined ? 'waits' : 'dials', signal)
  } catch (error) {
    throw asCommandError(interruption(signal) ?? error, meeting.stage, meeting.begun ? resultJson(meeting.result()) : {})
  } finally {
    await upTo(DRAIN_MS, endpoint.close({ drainMs: DRAIN_MS }))
  }
  return conclude(meeting, values, terminal)
}

function conclude(meeting: Meeting, { json }: PunchValues, terminal: Terminal): typeof Exit.DONE {
  const result = meeting.result()
  if (json !== true) for (const line of resultLines(result, terminal.colors)) terminal.result(line)
  if (!result.direct) {
    const { code, message } = meeting.failure ?? new CommandError('QB_PUNCH_FAILED', Exit.INCOMPLETE, 'there is no direct path')
    throw new CommandError(code, Exit.INCOMPLETE, message, { facts: resultJson(result) })
  }
  if (json === true) terminal.json({ ok: true, ...resultJson(result) })
  return Exit.DONE
}

interface WaitingFor {
  values: PunchValues
  traversal: TraversalOptions
  pin: string | null
  signal: AbortSignal
}

/** Registers, says where we are, and takes the first one who comes. */
async function wait(endpoint: Endpoint, meeting: Meeting, { values, traversal, pin, signal }: WaitingFor, terminal: Terminal): Promise<Connection> {
  meeting.say('begin', `relay      registering with ${values.relay}`)
  const { relayToken: token, relayTls: tls } = traversal
  const registration = await registerRelay(endpoint, values.relay, { ...(token === undefined ? {} : { token }), ...(tls === undefined ? {} : { tls }), signal })
  const { address } = registration
  if (values.json === true) terminal.json({ event: 'waiting', atMs: rounded(endpoint.now()), ok: true, address, pin })
  else {
    meeting.say('begin', `waiting    at ${terminal.colors.bold(address)}`)
    const trust = pin === null ? '' : ` --pin ${pin}`
    const relay = values.relayPin ?? values.pin?.[0]
    terminal.result(`           quicbraid nat punch ${address} --relay ${values.relay}${trust}${relay === undefined ? '' : ` --relay-pin ${relay}`}${values.token === undefined ? '' : ' --token …'}`)
  }
  const { value } = await endpoint.incoming({ signal }).next()
  if (value === undefined) throw new CommandError('QB_ENDPOINT_CLOSED', Exit.LOCAL, 'the endpoint has ended before anybody came')
  return value
}

async function dial(endpoint: Endpoint, meeting: Meeting, peer: string, options: ConnectionOptions & Waiting): Promise<Connection> {
  meeting.begin()
  meeting.say('begin', `connecting to ${peer}`)
  return endpoint.connect(peer, options)
}

/** Of the end that waits: a certificate that was given, or one for this call, with its pin. */
async function ownIdentity({ cert, key }: PunchValues): Promise<{ cert: string; key: string; pin: string | null }> {
  if (cert === undefined || key === undefined) return createDevCertificate()
  return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8'), pin: null }
}

function resultJson(result: PunchResult): object {
  const short = (ms: number | null): number | null => (ms === null ? null : rounded(ms))
  return { event: 'result', ...result, msToRelay: short(result.msToRelay), msToDirect: short(result.msToDirect), pauseMs: rounded(result.pauseMs), events: result.events.map((event) => ({ ...event, atMs: rounded(event.atMs) })) }
}

