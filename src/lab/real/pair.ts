/**
 * One pair of NATs of the kernel: both ends register with the relay, one dials the other over it, and the run ends with the direct path or when
 * nothing is left to try; bytes go to and fro all the time. The same run as the experiment `nat` makes in simulated worlds. Called by
 * `quicbraid nat matrix --real` and by tests.
 */
import { fileURLToPath } from 'node:url'
import { whatDelaysLack } from './delays.ts'
import type { RealNatKind } from './kinds.ts'
import type { Line, Program } from './program.ts'
import { RealLab } from './topology.ts'

export interface PairOptions {
  /** Opt in to the search of ports. @default false */
  portSearch?: boolean
  /** What is not decided by then stays on the relay. @default 12000, or 40000 with `portSearch` */
  limitMs?: number
}

export interface PairLabOptions {
  /** One way of a link between a router and the core. @default 25, or 0 where links can have no delay */
  delayMs?: number
}

/** Columns as those of the experiment `nat`. */
export interface PairResult {
  direct: boolean
  /** From the call of `connect` to the direct path. */
  directMs: number | null
  /** From the call of `connect` to the first byte of an answer, over the relay. */
  firstByteMs: number
  /** HELLOs of both ends. */
  probes: number
  rounds: number
  winner: string | null
  /** Longest time in which no byte came back. */
  pauseMs: number
  /** Why there is no direct path. */
  reason: string | null
}

const LINK_MS = 25
const LIMIT_MS = 12_000
const SEARCH_LIMIT_MS = 40_000

/** A laboratory with a relay and two clients that stays for many pairs: making one takes a second; ends find out what NAT they are behind before they meet, which takes a few. */
export class PairLab implements AsyncDisposable {
  readonly lab: RealLab
  readonly hub: Program
  readonly a: Program
  readonly b: Program
  /** The relay, and who may say that it is that. */
  readonly relay: string
  readonly relayCa: string

  /** @throws QB_LAB_REAL: what is missing on this machine */
  static async open({ delayMs = whatDelaysLack() === null ? LINK_MS : 0 }: PairLabOptions = {}): Promise<PairLab> {
    const lab = await RealLab.open({ clients: { a: ['none'], b: ['none'] }, delayMs })
    try {
      const [hub, a, b] = ['hub', 'a', 'b'].map((host) => startPeer(lab, host)) as [Program, Program, Program]
      const relay = await hub.ask({ do: 'relay', ips: lab.hub })
      return new PairLab(lab, [hub, a, b], relay)
    } catch (error) {
      await lab.close()
      throw error
    }
  }

  private constructor(lab: RealLab, [hub, a, b]: readonly [Program, Program, Program], relay: Line) {
    this.lab = lab
    this.hub = hub
    this.a = a
    this.b = b
    this.relay = String(relay['address'])
    this.relayCa = String(relay['ca'])
  }

  /** `a` dials. One pair at a time; afterwards the next one can be run. @throws QB_LAB_REAL: a program died, or an end said what failed */
  async runPair(kindA: RealNatKind, kindB: RealNatKind, { portSearch = false, limitMs = portSearch ? SEARCH_LIMIT_MS : LIMIT_MS }: PairOptions = {}): Promise<PairResult> {
    try {
      const { firstByteMs } = await this.connect(kindA, kindB, { portSearch })
      const found = await this.a.ask({ do: 'direct', limitMs })
      await this.a.ask({ do: 'stop-beats' })
      const [near, far] = await Promise.all([this.a.ask({ do: 'facts' }), this.b.ask({ do: 'facts' })])
      const { direct, directMs, reason = null } = found as unknown as PairResult
      const { rounds, winner, pauseMs } = near as unknown as PairResult
      return { direct, directMs, firstByteMs, probes: Number(near['probes']) + Number(far['probes']), rounds, winner: direct ? winner : null, pauseMs, reason }
    } finally {
      await this.reset()
    }
  }

  /** Both ends, connected over the relay; `runPair` in pieces, for tests. */
  async connect(kindA: RealNatKind, kindB: RealNatKind, { portSearch = false }: PairOptions = {}): Promise<{ firstByteMs: number }> {
    this.lab.become('a', kindA)
    this.lab.become('b', kindB)
    const { relay, relayCa } = this
    const near = this.a.ask({ do: 'prepare', local: this.lab.address('a'), relay, relayCa, portSearch })
    const far = this.b.ask({ do: 'listen', local: this.lab.address('b'), relay, relayCa, portSearch })
    const [{ address, ca }] = await Promise.all([far, near])
    const { firstByteMs } = await this.a.ask({ do: 'dial', address, ca, relay, relayCa, portSearch })
    return { firstByteMs: Number(firstByteMs) }
  }

  /** Ends what `connect` made. */
  async reset(): Promise<void> {
    await Promise.all([this.a.ask({ do: 'reset' }), this.b.ask({ do: 'reset' })])
  }

  async close(): Promise<void> {
    await this.lab.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The program of `peer.ts` on a host. */
export function startPeer(lab: RealLab, host: string): Program {
  return lab.start(host, [process.execPath, peerFile()])
}

/** From `dist/` this file's chunk lies beside it; from the sources `dist/` must have been built. */
function peerFile(): string {
  return fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../../../dist/nat-lab-peer.mjs' : './nat-lab-peer.mjs', import.meta.url))
}
