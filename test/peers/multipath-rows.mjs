// The rows over several paths: the multipath extension between two programs.

const MEGABYTE = 1_000_000
const SIZE = 20 * MEGABYTE
// A round trip after which both ends have seen all that belongs to the opening of a path.
const FEW = 100_000
// Less than this is probes and acknowledgements, not data. Not more: noq gives a second path of loopback little beyond the
// first windows, and less when that path is abandoned half-way.
const CARRIED = 8 * 1024
// A link that was rebound must carry so much afterwards: more than was on its way.
const CARRIED_AFTER = 512 * 1024
const TWO_PATHS = '127.0.0.1,127.0.0.2'
const LINKS = { count: 2, mbit: 100, delayMs: 5 }
// Long enough that a sleep of a process on a busy machine does not make its path a silent one: ours would take to the other.
const LONG_LINKS = { count: 2, mbit: 100, delayMs: 40 }
// noq gives a silent path up when it is told a time for that; a path in use is never silent for so long.
const PATH_IDLE = { 'path-idle': 1_000 }
// A client that only receives says nothing on a second path when it is noq: the server would never hear of its new address.
const PATH_PING = { 'path-ping': 100 }
const CHURN = 50

/** All of them for one client and one server. */
export function multipathRows(client, server) {
  const row = (what, { client: clientOptions = {}, server: serverOptions = {}, links, atMiddle = [], checks }) => ({
    name: `${client} client, ${server} server: ${what}`,
    what,
    client,
    server,
    // Where a path is meant by its link or by its status, which is the first is no matter of luck.
    clientOptions: { paths: TWO_PATHS, ...(links !== undefined || clientOptions.backup ? { handshake: 'single' } : {}), ...clientOptions },
    serverOptions,
    links,
    atMiddle,
    checks: [negotiated, ...checks],
  })
  const ways = [{ way: 'up', size: { up: SIZE }, bothCarry: bothCarryUp }, { way: 'down', size: { down: SIZE }, bothCarry: bothCarryDown }]
  const amount = `${SIZE / MEGABYTE} MB`
  return [
    row('two paths are negotiated and opened', { client: { up: FEW }, checks: [pathsOpen(2), noneAbandoned] }),
    ...ways.flatMap(({ way, size, bothCarry }) => [
      row(`two paths carry ${amount} ${way}`, { client: size, checks: [bothCarry, noneAbandoned] }),
      ...abandonments(row, way, size, bothCarry),
      row(`path 1 falls silent in the middle of ${amount} ${way}`, dark(1, size)),
      row(`path 0 falls silent in the middle of ${amount} ${way}`, dark(0, size)),
      row(`path 1 is rebound in the middle of ${amount} ${way}`, { client: { ...size, ...PATH_PING }, links: LINKS, atMiddle: ['rebind 1'], checks: [carriedAfter(1, way), noneAbandoned] }),
      row(`client updates keys in the middle of ${amount} ${way}`, { client: { ...size, 'update-keys': 1 }, links: LINKS, checks: [bothCarry, keysUpdated, noneAbandoned] }),
      row(`server updates keys in the middle of ${amount} ${way}`, { client: size, server: { 'update-keys': 1 }, links: LINKS, checks: [bothCarry, keysUpdated, noneAbandoned] }),
      row(`a backup path rests during ${amount} ${way}`, { client: { ...size, backup: 1, settle: 50 }, links: LONG_LINKS, checks: [pathsOpen(2), secondRests, noneAbandoned] }),
      row(`${CHURN} paths are opened and abandoned before ${amount} ${way}`, { client: { ...size, churn: CHURN }, checks: [churned, bothCarry] }),
    ]),
    ...lateLimits(row, client, server, amount),
  ]
}

function abandonments(row, way, size, bothCarry) {
  const one = (role, path, options) => row(`${role} abandons path ${path} in the middle of ${SIZE / MEGABYTE} MB ${way}`, { ...options, checks: [bothCarry, abandonedAre([path])] })
  return [1, 0].flatMap((path) => [
    one('client', path, { client: { ...size, abandon: path } }),
    one('server', path, { client: size, server: { abandon: path } }),
  ])
}

/** The link of a path is cut for good, and nobody is told. */
function dark(link, size) {
  return { client: { ...size, ...PATH_IDLE }, server: PATH_IDLE, links: LINKS, atMiddle: [`cut ${link}`], checks: [lostOn(link)] }
}

/** `initial_max_path_id` is 0 at one end, until MAX_PATH_ID raises it. noq has no verb for that, its core has. */
function lateLimits(row, client, server, amount) {
  const late = { 'max-paths': 1, raise: 8 }
  const able = (implementation) => (implementation === 'noq' ? 'noq-late' : implementation)
  const name = (role, way) => `the ${role} allows path 1 after the handshake, before ${amount} ${way}`
  const rows = (role, programs, options) => [
    { ...row(name(role, 'up'), { ...options({ up: SIZE }), checks: [bothCarryUp, noneAbandoned] }), ...programs },
    { ...row(name(role, 'down'), { ...options({ down: SIZE }), checks: [bothCarryDown, noneAbandoned] }), ...programs },
  ]
  return [
    ...rows('client', { client: able(client) }, (size) => ({ client: { ...size, ...late } })),
    ...rows('server', { server: able(server) }, (size) => ({ client: size, server: late })),
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

const pathsOpen = (count) => (client, server) => ends({ client, server }, (report) => (report.paths.length === count ? null : `${report.paths.length} path(s) were in use, not ${count}`))

const noneAbandoned = (client, server) => ends({ client, server }, abandonedOf([]))
const abandonedAre = (ids) => (client, server) => ends({ client, server }, abandonedOf(ids))

function abandonedOf(expected) {
  return (report) => {
    const ids = report.paths.filter((path) => path.abandoned).map((path) => path.id)
    return `${ids}` === `${expected}` ? null : `abandoned paths are [${ids}], not [${expected}]`
  }
}

/** Whoever counts has counted an update. */
function keysUpdated(client, server) {
  return ends({ client, server }, ({ keyUpdates }) => (keyUpdates === 0 ? 'no key was updated' : null))
}

/**
 * Not one STREAM frame on the second path, by the count of the end that counts. Unless the first one seemed silent to ours: on a
 * machine too busy to run the relay it is, and the spare one is there for that.
 */
function secondRests(client, server) {
  if ([client, server].some(({ paths }) => paths.some(({ id, suspected }) => id === 0 && suspected))) return null
  return ends({ client, server }, ({ paths }) => {
    const frames = paths.find(({ id }) => id === 1)?.streamFrames ?? 0
    return frames === 0 ? null : `${frames} STREAM frames on the backup path`
  })
}

/** Each path had an id of its own; the client counts, the server may not see all of what comes and goes so quickly. */
function churned(client, server) {
  const gone = client.paths.filter(({ abandoned }) => abandoned).length
  if (gone !== CHURN) return `client: ${gone} paths were abandoned, not ${CHURN}`
  return ends({ client, server }, ({ paths }) => {
    const newest = Math.max(...paths.map(({ id }) => id))
    return newest === CHURN + 1 ? null : `the newest path has id ${newest}`
  })
}

const lostOn = (link) => (_client, _server, { last }) => (last[link].cut > 0 ? null : `nothing was lost on link ${link}`)

const carriedAfter = (link, way) => (_client, _server, { middle, last }) => {
  const bytes = last[link][way] - middle[link][way]
  return bytes >= CARRIED_AFTER ? null : `link ${link} carried ${bytes} bytes after it was rebound`
}

/** Asks both ends; words name the end they are about. */
function ends(reports, check) {
  const words = Object.entries(reports).map(([role, report]) => [role, check(report)]).filter(([, said]) => said !== null)
  return words.length === 0 ? null : words.map(([role, said]) => `${role}: ${said}`).join('; ')
}
