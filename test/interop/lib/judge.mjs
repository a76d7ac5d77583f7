// Checks of traces: each answers null, or words for what is wrong. A plain check gets { client, server }: the datagrams as each end saw them,
// up (from the client) and down. A decrypted one gets the same as tshark reads them.

import { VERSION_1, VERSION_2 } from './pcap.mjs'

const packets = (datagrams, type) => datagrams.flatMap((datagram) => datagram.packets.filter((packet) => type === undefined || packet.type === type))
const distinct = (values) => [...new Set(values)]
const hex = (version) => `0x${version.toString(16)}`

/** Handshakes by the connection ids that the server chose, as it sent them: the link may corrupt them on their way. */
export const handshakes = (count) => ({ server }) => {
  const found = distinct(packets(server.down, 'initial').map(({ scid }) => scid)).length
  return found === count ? null : `${found} handshakes, expected ${count}`
}

/** Long headers that can be read are of this version; version 0 is Version Negotiation. */
export const versions = (wanted) => ({ client }) => {
  const found = distinct(packets([...client.up, ...client.down]).filter(({ version, type }) => version !== undefined && type !== 'unknown version').map(({ version }) => version))
  return found.every((version) => version === wanted) ? null : `versions ${found.map(hex).join(', ')}`
}

export const noRetry = ({ client }) => (packets(client.down, 'retry').length === 0 ? null : 'a Retry was sent')

export function versionNegotiated({ client }) {
  const first = packets(client.up)[0]
  const answer = packets(client.down, 'version negotiation').find(({ scid }) => scid === first?.dcid)
  return answer === undefined ? 'no Version Negotiation packet answers the first Initial' : null
}

export function retried({ client }) {
  const tokens = packets(client.down, 'retry').map(({ token }) => token)
  if (tokens.length === 0) return 'no Retry was sent'
  return packets(client.up, 'initial').some(({ token }) => token !== '' && tokens.includes(token)) ? null : 'no Initial has the token of the Retry'
}

/** The first flight is repeated: the round trip is longer than the first timeout. */
export const clientHellos = (least) => ({ client }) => {
  const firstAnswer = client.down[0]?.atMs ?? Infinity
  const found = client.up.filter(({ atMs, packets }) => atMs < firstAnswer && packets.some(({ type }) => type === 'initial')).length
  return found >= least ? null : `${found} Initial datagrams before the first answer, expected ${least} or more`
}

export const earlyDataSent = ({ client }) => (packets(client.up, '0rtt').length === 0 ? 'no 0-RTT packet was sent' : null)

/** RFC 9000 section 8.1: three times what came, until the client has shown its address. The runner allows a fourth. */
export function amplification({ server }) {
  const cids = new Set(packets(server.down, 'initial').filter(({ scid }) => scid.length >= 16).map(({ scid }) => scid))
  let allowed = 0
  for (const { payload, packets, isUp } of server.all) {
    if (!isUp) {
      allowed -= payload.length
      if (allowed < 0) return `the server sent ${-allowed} bytes more than three times what it had received`
    } else if (packets.some(({ type, dcid }) => type === 'handshake' || (type === 'initial' && cids.has(dcid)))) {
      return null
    } else {
      allowed += 3 * payload.length
    }
  }
  return 'the client never showed its address'
}

export const onlyIPv6 = ({ client, server }) => ([...client.all, ...server.all].every(({ family }) => family === 6) ? null : 'there are IPv4 packets')

export function becomesVersion2({ client, server }) {
  const of = (datagrams, type) => distinct(packets(datagrams, type).map(({ version }) => version))
  if (!of(client.up, 'initial').includes(VERSION_1)) return 'the client sent no Initial of version 1'
  if (!of(server.down, 'initial').includes(VERSION_2)) return 'the server sent no Initial of version 2'
  for (const [who, found] of [['client', of(client.up, 'handshake')], ['server', of(server.down, 'handshake')]]) {
    if (found.length !== 1 || found[0] !== VERSION_2) return `Handshake packets of the ${who} are of version ${found.map(hex).join(', ') || 'none'}`
  }
  return null
}

export const pathsAtServer = (least) => ({ server }) => {
  const found = distinct(server.down.map(({ from, to }) => `${from}-${to}`)).length
  return found >= least ? null : `the server used ${found} path(s), expected ${least} or more`
}

export const addressesAtServer = (least) => ({ server }) => {
  const found = distinct(server.down.map(({ toIp }) => toIp)).length
  return found >= least ? null : `the server saw ${found} address(es) of the client, expected ${least} or more`
}

/** RFC 9000 section 9.5: a client that moves uses another connection id. */
export function newPathNewConnectionId({ client }) {
  const length = (packets(client.down, 'initial')[0]?.scid.length ?? 16) / 2
  const idOf = (packet) => packet.dcid ?? packet.raw.toString('hex', 1, 1 + length)
  const seen = new Map()
  for (const { from, to, packets } of client.up) {
    const path = `${from}-${to}`
    for (const packet of packets) {
      const id = idOf(packet)
      const first = seen.get(id)
      if (first === undefined) seen.set(id, path)
      else if (first !== path) return `connection id ${id} was used on ${first} and on ${path}`
    }
  }
  return distinct(seen.values()).length > 1 ? null : 'the client never moved'
}

export function ecnMarks({ client, server }) {
  for (const [who, datagrams] of [['client', client.up], ['server', server.down]]) {
    const marked = datagrams.filter(({ ecn }) => ecn === 1 || ecn === 2).length
    if (marked === 0) return `the ${who} marked nothing`
    if (datagrams.some(({ ecn }) => ecn === 3)) return `the ${who} sent a CE mark`
  }
  return null
}

/** kbit/s of the files, from the first to the last 1-RTT packet of the server; `facts` keeps the number. */
export const goodput = (least) => ({ client, bytes, facts }) => {
  const times = client.down.filter(({ packets }) => packets.some(({ type }) => type === '1rtt')).map(({ atMs }) => atMs)
  facts.kbps = Math.round((8 * bytes) / (Math.max(...times.slice(-1)) - times[0]))
  return facts.kbps >= least ? null : `${facts.kbps} kbit/s, expected ${least} or more`
}

// Decrypted: { client, server } are rows of tshark's fields, each with isUp.

const all = (rows, field) => rows.flatMap((row) => row[field])

export function onlyChaCha20({ client }) {
  const offered = distinct(all(client.filter(({ isUp }) => isUp), 'tls.handshake.ciphersuite').map(Number))
  return offered.length === 1 && offered[0] === 0x1303 ? null : `the client offered ${offered.map(hex).join(', ') || 'nothing that could be read'}`
}

export const streamLimit = (most) => ({ client }) => {
  const limits = all(client.filter(({ isUp }) => !isUp), 'tls.quic.parameter.initial_max_streams_bidi').map(Number)
  if (limits.length === 0) return 'the stream limit of the server could not be read'
  return limits.every((limit) => limit <= most) ? null : `the server allows ${Math.max(...limits)} streams at once`
}

/** RFC 9000 section 17.2.5.3: a client that was sent a Retry does not begin its packet numbers again. */
export function packetNumbersGoOn({ client }) {
  let highest = -1
  for (const row of client.filter(({ isUp }) => isUp)) {
    if (row['quic.token_length'].length === 0) continue
    const number = Number(row['quic.packet_number'][0] ?? Number.NaN)
    if (row['quic.token_length'][0] === '0') highest = Math.max(highest, number)
    else return number > highest ? null : `the Initial with the token has packet number ${number}, one before it had ${highest}`
  }
  return 'no Initial with a token could be read'
}

/**
 * The requests of the second connection went out in 0-RTT, not behind the handshake. Probes of the path's MTU (RFC 9000 section 14.4: PING and
 * PADDING) are no requests.
 */
export function requestsWereEarly({ client }) {
  const PROBE = new Set([0, 1])
  const AEAD_AND_HEADER = 25
  let late = 0
  for (const row of client.filter(({ isUp }) => isUp)) {
    if (row['quic.frame_type'].length > 0 && row['quic.frame_type'].every((type) => PROBE.has(Number(type)))) continue
    row['quic.header_form'].forEach((form, index) => {
      if (form === '0' || form === 'False') late += Math.max(0, Number(row['quic.packet_length'][index] ?? 0) - AEAD_AND_HEADER)
    })
  }
  return late <= 0.5 * 250 * 40 ? null : `${late} bytes of requests in 1-RTT packets`
}

export function secondWithoutCertificate({ client }) {
  const CERTIFICATE = '11'
  const servers = client.filter((row) => !row.isUp && row['quic.scid'].length > 0)
  const [first, second] = distinct(servers.map((row) => row['quic.scid'][0]))
  const has = (scid) => servers.some((row) => row['quic.scid'][0] === scid && row['tls.handshake.type'].includes(CERTIFICATE))
  if (!has(first)) return 'no certificate in the first handshake could be read'
  return second !== undefined && has(second) ? 'the second handshake has a certificate' : null
}

export function bothKeyPhases({ client, server }) {
  const phases = (rows) => distinct(all(rows, 'quic.key_phase').map((value) => (value === '1' || value === 'True' ? 1 : 0)))
  const [mine, theirs] = [phases(client.filter(({ isUp }) => isUp)), phases(server.filter(({ isUp }) => !isUp))]
  return mine.includes(1) && theirs.includes(1) ? null : `key phases: client ${mine.join(' and ') || 'none'}, server ${theirs.join(' and ') || 'none'}`
}

export function ecnAcknowledged({ client, server }) {
  if (all(client.filter(({ isUp }) => isUp), 'quic.ack.ect0_count').length === 0) return 'the client acknowledged no mark'
  return all(server.filter(({ isUp }) => !isUp), 'quic.ack.ect0_count').length === 0 ? 'the server acknowledged no mark' : null
}

/** The chain of nine certificates was really sent. */
export function longChain({ server }) {
  let most = 0
  for (const row of server.filter(({ isUp }) => !isUp)) {
    row['quic.crypto.offset'].forEach((offset, index) => { most = Math.max(most, Number(offset) + Number(row['quic.crypto.length'][index])) })
  }
  return most >= 7500 ? null : `the server sent ${most} bytes of handshake`
}

/**
 * RFC 9000 section 9.3: a server that goes to a new address challenges it with its first packet there, and the client answers. Before, it may answer
 * the client's probes (section 9.1); the runner wants a challenge even then.
 */
export function newPathsAreChallenged({ client, server }) {
  const ONLY_PROBES = new Set([0x00, 0x18, 0x1b])
  const ofPath = (row) => ['ip.src', 'ipv6.src', 'udp.srcport', 'ip.dst', 'ipv6.dst', 'udp.dstport'].map((field) => row[field][0] ?? '').join(' ')
  const seen = new Set()
  const challenges = []
  for (const row of server.filter(({ isUp }) => !isUp)) {
    const path = ofPath(row)
    if (seen.has(path)) continue
    const isAnswer = row['quic.frame_type'].length > 0 && row['quic.frame_type'].every((type) => ONLY_PROBES.has(Number(type)))
    if (seen.size > 0 && isAnswer) continue
    if (seen.size > 0) {
      const [challenge] = row['quic.path_challenge.data']
      if (challenge === undefined) return `the first packet on a new path (${path.trim()}) has no PATH_CHALLENGE`
      challenges.push(challenge)
    }
    seen.add(path)
  }
  const responses = new Set(all(client.filter(({ isUp }) => isUp), 'quic.path_response.data'))
  const open = challenges.filter((challenge) => !responses.has(challenge)).length
  return open === 0 ? null : `${open} of ${challenges.length} first challenges have no PATH_RESPONSE`
}
