// What only keys can tell: runs tshark over a capture with the key log of both ends, and answers the fields of each datagram.

import { spawn, spawnSync } from 'node:child_process'

const FIELDS = [
  'udp.srcport', 'udp.dstport', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'quic.long.packet_type', 'quic.packet_number', 'quic.token_length', 'quic.scid',
  'quic.key_phase', 'quic.path_challenge.data', 'quic.path_response.data', 'quic.ack.ect0_count', 'quic.crypto.offset', 'quic.crypto.length',
  'quic.header_form', 'quic.packet_length', 'quic.frame_type',
  'tls.handshake.type', 'tls.handshake.ciphersuite', 'tls.quic.parameter.initial_max_streams_bidi',
]

export function tsharkVersion() {
  const { status, stdout } = spawnSync('tshark', ['--version'], { encoding: 'utf8' })
  return status === 0 ? (/^TShark \(Wireshark\) (\S+)/m.exec(stdout)?.[1] ?? 'unknown') : null
}

/** One object of lists a datagram, by field. `ports`: where the server is, in this capture. */
export async function dissect(capture, keylog, ports) {
  const decode = ports.flatMap((port) => ['-d', `udp.port==${port},quic`])
  const fields = FIELDS.flatMap((field) => ['-e', field])
  const text = await output('tshark', ['-n', '-r', capture, ...decode, '-o', `tls.keylog_file:${keylog}`, '-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=a', '-E', 'aggregator=,', ...fields])
  return text.split('\n').filter((line) => line !== '').map((line) => {
    const values = line.split('\t')
    return Object.fromEntries(FIELDS.map((field, index) => [field, (values[index] ?? '') === '' ? [] : values[index].split(',')]))
  })
}

function output(program, parameters) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'ignore'] })
    const pieces = []
    child.stdout.on('data', (bytes) => pieces.push(bytes))
    child.on('error', reject)
    child.on('close', () => resolve(Buffer.concat(pieces).toString()))
  })
}
