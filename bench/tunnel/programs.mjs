// Tunnels of others, each with both its ends on this machine and in front of the same source: what ours is compared with.
//
// Every one answers `{ port, pids }`, or throws `NotThere` with words for the row's note. Keys are made for the run, in a folder that goes
// with it; nothing of the user's is read or written.

import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const LOOPBACK = '127.0.0.1'
const PATIENCE_MS = 20_000
const CACHE = fileURLToPath(new URL('../../.tmp/bench-go/', import.meta.url))
const CHISEL = 'github.com/jpillora/chisel@v1.10.1'

/** A peer cannot run here; the message says why. */
export class NotThere extends Error {}

/** By name: `(source port, { folder, children }) => Promise<{ port, pids }>`; processes are added to `children`. */
export const PROGRAMS = { ssh, chisel, stunnel }

/** OpenSSH with its defaults: a daemon of our own, and `ssh -N -L`. */
async function ssh(source, { folder, children }) {
  const [daemon, client, keygen] = ['sshd', 'ssh', 'ssh-keygen'].map((name) => find(name) ?? missing(name))
  for (const name of ['host', 'user']) run(keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)])
  // Where the daemon's service has never run, its folder for separated privileges is missing.
  if (!existsSync('/run/sshd')) {
    try {
      mkdirSync('/run/sshd', { mode: 0o755 })
    } catch {
      throw new NotThere('sshd needs /run/sshd')
    }
  }
  const [daemonPort, port] = [await freePort(), await freePort()]
  const settings = join(folder, 'sshd_config')
  writeFileSync(settings, `ListenAddress ${LOOPBACK}\nPort ${daemonPort}\nHostKey ${join(folder, 'host')}\nAuthorizedKeysFile ${join(folder, 'user.pub')}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n`)
  const serving = start(children, daemon, ['-D', '-e', '-f', settings])
  await listening(daemonPort, serving)
  const dialling = start(children, client, [
    '-F', 'none', '-N', '-L', `${LOOPBACK}:${port}:${LOOPBACK}:${source}`, '-p', String(daemonPort), '-i', join(folder, 'user'), '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes',
    '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'ExitOnForwardFailure=yes', '-o', 'LogLevel=ERROR', `${userInfo().username}@${LOOPBACK}`,
  ])
  await listening(port, dialling)
  return { port, pids: [serving.pid, dialling.pid] }
}

/** chisel: TCP over SSH over WebSocket. From $CHISEL, PATH, or built once with Go into the repository's `.tmp`. */
async function chisel(source, { children }) {
  const program = process.env.CHISEL ?? find('chisel') ?? build()
  const [serverPort, port] = [await freePort(), await freePort()]
  const serving = start(children, program, ['server', '--host', LOOPBACK, '--port', String(serverPort)])
  await listening(serverPort, serving)
  const dialling = start(children, program, ['client', `http://${LOOPBACK}:${serverPort}`, `${LOOPBACK}:${port}:${LOOPBACK}:${source}`])
  await listening(port, dialling)
  return { port, pids: [serving.pid, dialling.pid] }
}

function build() {
  const program = join(CACHE, 'bin', 'chisel')
  if (existsSync(program)) return program
  const go = find('go') ?? missing('chisel, and no go to build it with,')
  const { status, stderr } = spawnSync(go, ['install', CHISEL], { env: { ...process.env, GOPATH: CACHE, GOBIN: join(CACHE, 'bin'), GOFLAGS: '-modcacherw' }, encoding: 'utf8', timeout: 300_000 })
  if (status === 0) return program
  const refusal = /\d{3} [A-Z][a-z]+(?: [A-Z][a-z]+)*/.exec(stderr)
  throw new NotThere(`no chisel on PATH or in $CHISEL; go install: ${refusal?.[0] ?? stderr.trim().split('\n').at(-1)?.slice(0, 100) ?? 'failed'}`)
}

/** stunnel: TLS 1.3 by OpenSSL, a TLS connection for each TCP connection, both ends with certificates. */
async function stunnel(source, { folder, children }) {
  const program = find('stunnel') ?? missing('stunnel')
  const openssl = find('openssl') ?? missing('openssl')
  const [key, cert] = [join(folder, 'tls.key'), join(folder, 'tls.crt')]
  run(openssl, ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', key, '-out', cert])
  const [middle, port] = [await freePort(), await freePort()]
  const common = `foreground = yes\npid =\nsyslog = no\ndebug = 3\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n[tunnel]\ncert = ${cert}\nkey = ${key}\nCAfile = ${cert}\nverifyPeer = yes\n`
  const side = async (name, words, at) => {
    const settings = join(folder, `stunnel-${name}.conf`)
    writeFileSync(settings, common + words)
    const child = start(children, program, [settings])
    await listening(at, child)
    return child.pid
  }
  const far = await side('far', `accept = ${LOOPBACK}:${middle}\nconnect = ${LOOPBACK}:${source}\n`, middle)
  const near = await side('near', `client = yes\naccept = ${LOOPBACK}:${port}\nconnect = ${LOOPBACK}:${middle}\n`, port)
  return { port, pids: [far, near] }
}

/** The whole path of a program: daemons are not on everybody's PATH. */
function find(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function missing(name) {
  throw new NotThere(`no ${name} here`)
}

function run(file, parameters) {
  const { status, stderr } = spawnSync(file, parameters, { encoding: 'utf8' })
  if (status !== 0) throw new NotThere(`${file}: ${stderr.trim().split('\n').at(-1)}`)
}

function start(children, file, parameters) {
  const child = spawn(file, parameters, { stdio: ['ignore', 'ignore', 'pipe'] })
  child.words = ''
  child.stderr.setEncoding('utf8').on('data', (text) => { child.words = (child.words + text).slice(-2000) })
  child.on('error', (error) => { child.words += error.message })
  children.push(child)
  return child
}

/** Waits until somebody accepts at this port. */
async function listening(port, child) {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const there = await new Promise((resolve) => {
      const socket = connect({ port, host: LOOPBACK })
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (there) return
    if (child.exitCode !== null || child.pid === undefined || performance.now() > until) throw new NotThere(`${child.spawnfile.split('/').at(-1)} did not listen: ${child.words.trim().split('\n').at(-1)?.slice(0, 120)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().listen(0, LOOPBACK, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
    server.on('error', reject)
  })
}
