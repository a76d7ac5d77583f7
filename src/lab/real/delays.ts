/**
 * Links between namespaces, with a delay if one is asked for: veth and the kernel's netem, or, on kernels without it, TUN devices and a program
 * that carries packets between them (`native/qdriver/examples/wire`, named by QUICBRAID_LAB_WIRE). Called by `topology.ts`.
 */
import { existsSync } from 'node:fs'
import { ip, run, tryRun } from './commands.ts'
import { Program } from './program.ts'

/** One end: the device to make in a namespace. */
interface End {
  namespace: string
  device: string
}

const carrierFile = (): string | null => {
  const file = process.env['QUICBRAID_LAB_WIRE']
  return file !== undefined && existsSync(file) ? file : null
}

/** Why links can have no delay here; null: they can. */
export function whatDelaysLack(): string | null {
  if (carrierFile() !== null || hasNetem()) return null
  return 'the kernel has no netem for delays, and QUICBRAID_LAB_WIRE names no program in its place (cargo build -p qdriver --example wire)'
}

/** Makes all links; the program that carries them, if there is one. */
export async function makeLinks(links: readonly (readonly [End, End])[], delayMs: number): Promise<Program | null> {
  const file = carrierFile()
  if (delayMs > 0 && file !== null) return carried(file, links, delayMs)
  ip(null, links.map(([one, other]) => `link add ${one.device} netns ${one.namespace} type veth peer name ${other.device} netns ${other.namespace}`))
  if (delayMs > 0) for (const { namespace, device } of links.flat()) run(['ip', 'netns', 'exec', namespace, 'tc', 'qdisc', 'add', 'dev', device, 'root', 'netem', 'delay', `${delayMs}ms`])
  return null
}

async function carried(file: string, links: readonly (readonly [End, End])[], delayMs: number): Promise<Program> {
  const program = new Program('wire', [file, String(Math.round(delayMs * 1000)), ...links.map((ends) => ends.map(({ namespace, device }) => `${namespace}:${device}`).join('='))])
  await program.event('ready')
  return program
}

function hasNetem(): boolean {
  const probe = `qbn${process.pid}-netem`
  if (!tryRun(['ip', 'netns', 'add', probe])) return false
  try {
    return tryRun(['ip', 'netns', 'exec', probe, 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'])
  } finally {
    tryRun(['ip', 'netns', 'del', probe])
  }
}
