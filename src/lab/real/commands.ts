/**
 * The system's commands that make network namespaces: `ip` and `nft`, run and awaited, and what of them this machine lacks. Called by
 * `topology.ts` alone.
 */
import { spawnSync } from 'node:child_process'
import { ServiceError } from '../../errors/index.ts'

/** Runs a command with `input` on its stdin and answers its stdout. @throws QB_LAB_REAL with the command's last words */
export function run(command: readonly string[], input = ''): string {
  const [file = '', ...words] = command
  const { status, stdout, stderr, error } = spawnSync(file, words, { input, encoding: 'utf8' })
  if (status === 0) return stdout
  throw new ServiceError('QB_LAB_REAL', `${command.join(' ')} failed: ${(error?.message ?? stderr).trim()}`)
}

/** Like `run`, and false where it fails. */
export function tryRun(command: readonly string[], input = ''): boolean {
  const [file = '', ...words] = command
  return spawnSync(file, words, { input }).status === 0
}

/** Lines of `ip` in one namespace (null: this one), one process for all. */
export function ip(namespace: string | null, lines: readonly string[]): void {
  run(['ip', ...(namespace === null ? [] : ['-n', namespace]), '-batch', '-'], lines.map((line) => `${line}\n`).join(''))
}

/** Writes settings of the kernel, by path below /proc/sys, in one namespace; what a kernel does not have is left. */
export function settings(namespace: string, values: Readonly<Record<string, number>>): void {
  const script = Object.entries(values).map(([path, value]) => `for f in /proc/sys/${path}; do [ -w $f ] && echo ${value} >$f; done`)
  run(['ip', 'netns', 'exec', namespace, 'sh', '-c', `${script.join('\n')}\ntrue`])
}

export function nft(namespace: string, rules: string): void {
  run(['ip', 'netns', 'exec', namespace, 'nft', '-f', '-'], rules)
}

/** Why there can be no laboratory on this machine, in one line; null: there can. */
export function whatIsMissing(): string | null {
  if (process.platform !== 'linux') return 'network namespaces are Linux only'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  for (const [command, package_] of [['ip', 'iproute2'], ['nft', 'nftables']] as const) {
    if (!tryRun([command, '-V'])) return `the command ${command} is missing (package ${package_})`
  }
  const probe = `qbn${process.pid}-probe`
  if (!tryRun(['ip', 'netns', 'add', probe])) return 'network namespaces cannot be made here (a container without the right?)'
  try {
    const rules = 'table ip t { map m { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 9s; }; chain c { type nat hook postrouting priority srcnat; masquerade fully-random; }; }'
    return tryRun(['ip', 'netns', 'exec', probe, 'nft', '-f', '-'], rules) ? null : 'nftables cannot translate addresses here (kernel modules nf_tables, nft_masq)'
  } finally {
    tryRun(['ip', 'netns', 'del', probe])
  }
}
