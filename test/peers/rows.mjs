// The rows: who serves, who connects, what is transferred, what must be true afterwards.
//
// `checks` are functions of both reports, and of the relay's last counters where links stand between, that return words when
// something is wrong. `links` puts a relay with so many links in between, `atMiddle` is what happens to them when half of the
// transfer is through.

import { multipathRows } from './multipath-rows.mjs'

const MIB = 1024 * 1024
const SIZE = 10 * MIB
// One Python process moves about a MiB per second on a busy machine.
const PYTHON_SIZE = 2 * MIB

/** The rows of our own programs against the others, in the order they run. */
export function ourRows() {
  return [...pair('quinn', SIZE), ...pair('noq', SIZE), ...multipathRows('ours', 'noq'), ...multipathRows('noq', 'ours'), ...pair('aioquic', PYTHON_SIZE)]
}

/** The rows that prove the others' programs without ours. */
export function proofRows() {
  return [
    ...transfers('quinn', 'quinn', SIZE),
    ...transfers('noq', 'quinn', SIZE),
    ...multipathRows('noq', 'noq'),
    ...transfers('quinn', 'aioquic', PYTHON_SIZE),
    ...transfers('aioquic', 'quinn', PYTHON_SIZE),
    ...transfers('aioquic', 'aioquic', PYTHON_SIZE),
  ]
}

function pair(peer, size) {
  return [...transfers('ours', peer, size), ...transfers(peer, 'ours', size)]
}

function transfers(client, server, size) {
  const row = (what, options) => ({ name: `${client} client, ${server} server: ${what}`, what, client, server, clientOptions: options, serverOptions: {}, checks: [] })
  const amount = `${size / MIB} MiB`
  return [row('handshake', {}), row(`${amount} up`, { up: size }), row(`${amount} down`, { down: size })]
}
