// Two network namespaces that nothing joins but the relay: one for clients, one for servers, each with loopback alone.

import { spawnSync } from 'node:child_process'

/** Number of paths that have addresses. */
const PATHS = 2

/** Why no namespaces can be made here; thrown before anything runs. */
export class NoNamespaces extends Error {}

/**
 * Makes the namespaces.
 *
 * @returns `{ client, server, paths, target, close }`: names for `ip netns exec`, `paths` with the client's address `local`, the
 * relay's `listen` and its `source` towards the server, and the server's address `target`.
 */
export function namespaces() {
  const names = { client: `qbr${process.pid}c`, server: `qbr${process.pid}s` }
  const close = () => {
    process.off('exit', close)
    for (const name of Object.values(names)) spawnSync('ip', ['netns', 'del', name])
  }
  process.once('exit', close)
  for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(name, () => process.exit(code))
  const numbers = Array.from({ length: PATHS }, (_, index) => index)
  try {
    make(names.client, numbers.flatMap((index) => [`10.77.${index}.1`, `10.77.${index}.2`]))
    make(names.server, ['10.78.255.1', ...numbers.map((index) => `10.78.${index}.1`)])
  } catch (error) {
    close()
    throw error
  }
  return {
    ...names,
    paths: numbers.map((index) => ({ local: `10.77.${index}.2`, listen: `10.77.${index}.1:4433`, source: `10.78.${index}.1:0` })),
    target: '10.78.255.1:4433',
    close,
  }
}

function make(name, addresses) {
  ip('netns', 'add', name)
  for (const address of addresses) ip('-n', name, 'addr', 'add', `${address}/32`, 'dev', 'lo')
  ip('-n', name, 'link', 'set', 'lo', 'up')
}

function ip(...words) {
  const { status, stderr, error } = spawnSync('ip', words, { encoding: 'utf8' })
  if (status === 0) return
  throw new NoNamespaces(`no network namespaces here (ip ${words.join(' ')}: ${error?.message ?? stderr.trim()}); --sim needs none`)
}
