// Where and of what the numbers are.

import { spawnSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg, platform, release } from 'node:os'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

// Others at work when we began: with more than ours, ratios are all that is left.
const LOAD = loadavg()[0]

/** Processor, cores, kernel, versions, load before the run. */
export function machine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    system: `${platform()} ${release()}`,
    node: process.versions.node,
    load: LOAD,
    rust: output('rustc', ['--version'])?.split(' ')[1] ?? null,
  }
}

/** The commit, with a `+` when files differ from it; null outside of a checkout. */
export function commit() {
  const id = output('git', ['rev-parse', '--short=10', 'HEAD'])
  if (id === null) return null
  return output('git', ['status', '--porcelain', '--untracked-files=no']) === '' ? id : `${id}+`
}

function output(file, parameters) {
  const { status, stdout } = spawnSync(file, parameters, { cwd: ROOT, encoding: 'utf8' })
  return status === 0 ? stdout.trim() : null
}
