// The rows: who serves, who connects, what is transferred, what must be true afterwards.
//
// `checks` are functions of both reports that return words when something is wrong.

const MIB = 1024 * 1024
const SIZE = 10 * MIB
// Room for an abandonment in the middle, on loopback too.
const MULTIPATH_SIZE = 32 * MIB
// One Python process moves about a MiB per second on a busy machine.
const PYTHON_SIZE = 2 * MIB
// Less than this is probes and acknowledgements, not data. Not more: noq gives a second path of loopback little beyond the
// first windows, and less when that path is abandoned half-way.
const CARRIED = 8 * 1024
const TWO_PATHS = '127.0.0.1,127.0.0.2'

/** The rows of our own programs against the others, in the order they run. */
export function ourRows() {
  return [...pair('quinn', SIZE), ...pair('noq', SIZE), ...multipath('ours', 'noq'), ...multipath('noq', 'ours'), ...pair('aioquic', PYTHON_SIZE)]
}

/** The rows that prove the others' programs without ours. */
export function proofRows() {
  const between = (client, server, size) => transfers(client, server, size)
  return [
    ...between('quinn', 'quinn', SIZE),
    ...between('noq', 'quinn', SIZE),
    ...multipath('noq', 'noq'),
    ...between('quinn', 'aioquic', PYTHON_SIZE),
    ...between('aioquic', 'quinn', PYTHON_SIZE),
    ...between('aioquic', 'aioquic', PYTHON_SIZE),
  ]
}

function pair(peer, size) {
  return [...transfers('ours', peer, size), ...transfers(peer, 'ours', size)]
}

function transfers(client, server, size) {
  const row = (what, options) => ({ name: `${client} client, ${server} server: ${what}`, client, server, clientOptions: options, serverOptions: {}, checks: [] })
  const amount = `${size / MIB} MiB`
  return [row('handshake', {}), row(`${amount} up`, { up: size }), row(`${amount} down`, { down: size })]
}

function multipath(client, server) {
  const row = (what, clientOptions, serverOptions, checks) => ({
    name: `${client} client, ${server} server: ${what}`,
    client,
    server,
    clientOptions: { paths: TWO_PATHS, ...clientOptions },
    serverOptions,
    checks: [negotiated, ...checks],
  })
  const amount = `${MULTIPATH_SIZE / MIB} MiB`
  const up = { up: MULTIPATH_SIZE }
  const down = { down: MULTIPATH_SIZE }
  const abandon = { abandon: 1 }
  return [
    row(`two paths carry ${amount} up`, up, {}, [bothCarryUp, noneAbandoned]),
    row(`two paths carry ${amount} down`, down, {}, [bothCarryDown, noneAbandoned]),
    row('client abandons a path in the middle of an upload', { ...up, ...abandon }, {}, [bothCarryUp, secondAbandoned]),
    row('client abandons a path in the middle of a download', { ...down, ...abandon }, {}, [bothCarryDown, secondAbandoned]),
    row('server abandons a path in the middle of an upload', up, abandon, [bothCarryUp, secondAbandoned]),
    row('server abandons a path in the middle of a download', down, abandon, [bothCarryDown, secondAbandoned]),
    row('client abandons its first path in the middle of an upload', { ...up, abandon: 0 }, {}, [bothCarryUp, firstAbandoned]),
  ]
}

const negotiated = (client, server) => ends({ client, server }, (report) => (report.multipath ? null : 'multipath was not negotiated'))

// The receiver counts: what it counts has arrived.
const bothCarryUp = (_client, server) => bothCarry('server', server)
const bothCarryDown = (client) => bothCarry('client', client)

function bothCarry(role, report) {
  const carried = report.paths.filter((path) => path.received >= CARRIED)
  return carried.length >= 2 ? null : `${role}: ${carried.length} path(s) carried data`
}

const noneAbandoned = (client, server) => ends({ client, server }, abandonedAre([]))
const secondAbandoned = (client, server) => ends({ client, server }, abandonedAre([1]))
const firstAbandoned = (client, server) => ends({ client, server }, abandonedAre([0]))

function abandonedAre(expected) {
  return (report) => {
    const ids = report.paths.filter((path) => path.abandoned).map((path) => path.id)
    return `${ids}` === `${expected}` ? null : `abandoned paths are [${ids}], not [${expected}]`
  }
}

/** Asks both ends; words name the end they are about. */
function ends(reports, check) {
  const words = Object.entries(reports).map(([role, report]) => [role, check(report)]).filter(([, said]) => said !== null)
  return words.length === 0 ? null : words.map(([role, said]) => `${role}: ${said}`).join('; ')
}
