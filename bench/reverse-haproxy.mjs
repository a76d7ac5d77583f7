/**
 * Reverse connections over TCP with a real HAProxy (2.9 or newer), both ways round (docs/spec/reverse.md §9). By hand: `HAPROXY=/usr/sbin/haproxy node bench/reverse-haproxy.mjs`
 * after `npm run build:ts`. Prints what it saw, one line each, and the counts as the last line; without HAPROXY it says that it was skipped.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { connect, createServer as createNet } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Gateway, reverseHttp2Connect, reverseHttp2Listen } from '../dist/reverse.mjs'

const HAPROXY = process.env.HAPROXY
if (!HAPROXY) {
  console.log('skipped: reverse-haproxy needs HAPROXY=path of a haproxy 2.9 or newer')
  process.exit(0)
}
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-haproxy-'))
const undo = []
let [passed, failed] = [0, 0]

function saw(name, isSo, what) {
  if (isSo) passed += 1
  else failed += 1
  console.log(`${isSo ? 'ok  ' : 'FAIL'} ${name}: ${what}`)
}

async function until(isSo, ms = 10_000) {
  const end = performance.now() + ms
  while (!isSo()) {
    if (performance.now() > end) return false
    await wait(2)
  }
  return true
}

async function freePort() {
  const server = createNet().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const COMMON = `global
  expose-experimental-directives
defaults
  mode http
  timeout connect 500ms
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
`

/** Runs until it is stopped; `lines` are what it logs. */
function haproxy(name, text) {
  const file = join(folder, `${name}.cfg`)
  writeFileSync(file, COMMON + text)
  const lines = []
  const child = spawn(HAPROXY, ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => lines.push(...String(chunk).split('\n').filter(Boolean)))
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  undo.push(stop)
  return { lines, stop }
}

async function webServer() {
  const server = createServer((asked, answer) => {
    if (asked.method === 'POST') return void asked.pipe(answer)
    answer.setHeader('x-forwarded', String(asked.headers['x-forwarded-for']))
    answer.end(`web ${asked.url}`)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  undo.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return server.address().port
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })
undo.push(() => agent.destroy())

function ask(port, path, body) {
  return new Promise((resolve) => {
    const asked = request({ port, host: '127.0.0.1', path, agent, method: body === undefined ? 'GET' : 'POST' }, async (answer) => {
      const chunks = []
      for await (const chunk of answer) chunks.push(chunk)
      resolve({ status: answer.statusCode, body: Buffer.concat(chunks) })
    })
    asked.once('error', (error) => resolve({ status: 0, body: Buffer.from(error.message) }))
    asked.end(body)
  })
}

const gatewayTo = (port) => new Gateway({
  forwarded: 'append',
  open: async (_, { head }) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    await once(socket, 'connect')
    socket.write(head)
    return socket
  },
})

/** HAProxy has the public port; ours dials it. */
async function publicHaproxy() {
  const [dialPort, webPort, target] = [await freePort(), await freePort(), await webServer()]
  haproxy('public', `frontend dialled
  bind 127.0.0.1:${dialPort} proto h2
  tcp-request session attach-srv services/dev
frontend web
  bind 127.0.0.1:${webPort}
  default_backend services
backend services
  http-reuse always
  option forwardfor
  server dev rhttp@
`)
  const gateway = gatewayTo(target)
  const states = []
  await wait(500)
  const before = await ask(webPort, '/early')
  saw('public HAProxy without us', before.status === 503, `status ${before.status}`)
  const dialler = reverseHttp2Connect({ to: `127.0.0.1:${dialPort}`, tls: 'plain', pool: 2 }, (stream, headers, raw) => gateway.stream('web', stream, headers, raw))
  undo.push(() => dialler.stop({ drainMs: 0 }))
  dialler.state$.subscribe(({ state }) => states.push(state))
  saw('our pool of 2 towards it', await until(() => dialler.state === 'FULL'), states.join(' → '))
  const one = await ask(webPort, '/one')
  saw('a request', one.status === 200 && String(one.body) === 'web /one', `status ${one.status}, ${one.body}`)
  const body = Buffer.alloc(300_000, 'quicbraid ')
  const echoed = await ask(webPort, '/', body)
  saw('300,000 bytes echoed', echoed.body.equals(body), `status ${echoed.status}, ${echoed.body.length} bytes`)
  const many = await Promise.all(Array.from({ length: 40 }, (_, at) => ask(webPort, `/${at}`)))
  saw('40 requests at once', many.every(({ status }) => status === 200), `${many.filter(({ status }) => status === 200).length} of 40`)
  const startMs = performance.now()
  const rounds = 2000
  const cpu = process.cpuUsage()
  let left = rounds
  let wrong = 0
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (left > 0) {
      left -= 1
      if ((await ask(webPort, '/r')).status !== 200) wrong += 1
    }
  }))
  const used = process.cpuUsage(cpu)
  saw('2000 requests, 16 at a time', wrong === 0, `${Math.round(rounds / ((performance.now() - startMs) / 1000))} requests/s; of this process, which is client, private end and web server, ${((used.user + used.system) / 1000 / rounds).toFixed(2)} ms of processor time each`)
  await dialler.stop()
  const after = await ask(webPort, '/late')
  saw('after we have left', after.status === 503, `status ${after.status}`)
  await gateway.close()
}

/** HAProxy is behind the NAT; it dials ours. */
async function privateHaproxy() {
  const target = await webServer()
  const events = []
  const listener = await reverseHttp2Listen({ local: '127.0.0.1:0', tls: 'plain', service: 'dev' })
  undo.push(() => listener.close())
  listener.events$.subscribe((event) => events.push({ ...event, ms: performance.now() }))
  const port = Number(/\d+$/.exec(listener.local[0])[0])
  const proxy = haproxy('private', `frontend served
  bind rhttp@away/srv nbconn 3
  default_backend app
backend away
  server srv 127.0.0.1:${port} proto h2
backend app
  server web 127.0.0.1:${target}
`)
  const full = await until(() => listener.sizes().dev === 3)
  const accepted = events.filter(({ type }) => type === 'accepted')
  saw('private HAProxy with nbconn 3', full, `${accepted.length} connections, ${accepted.slice(1).map(({ ms }, at) => `${(ms - accepted[at].ms).toFixed(1)} ms`).join(', ')} after one another`)
  const requestOf = async (path, body) => {
    const stream = (await listener.session('dev')).request({ ':method': body === undefined ? 'GET' : 'POST', ':path': path, ':authority': 'dev', ':scheme': 'http' })
    const answered = once(stream, 'response')
    stream.end(body)
    const [headers] = await answered
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    return { status: headers[':status'], body: Buffer.concat(chunks), id: stream.id }
  }
  const many = await Promise.all(Array.from({ length: 20 }, (_, at) => requestOf(`/${at}`)))
  saw('20 requests at once', many.every(({ status }) => status === 200), `${many.filter(({ status }) => status === 200).length} of 20`)
  const body = Buffer.alloc(300_000, 'quicbraid ')
  const echoed = await requestOf('/', body)
  saw('300,000 bytes echoed', echoed.body.equals(body), `status ${echoed.status}, ${echoed.body.length} bytes`)
  await wait(1200)
  const session = await listener.session('dev')
  const cutMs = performance.now()
  const count = accepted.length
  session.destroy()
  const replaced = await until(() => events.filter(({ type }) => type === 'accepted').length > count)
  saw('a connection that was closed is replaced', replaced, `${(events.filter(({ type }) => type === 'accepted').at(-1).ms - cutMs).toFixed(1)} ms later`)
  await proxy.stop()
  saw('it leaves', await until(() => listener.sizes().dev === undefined), `events ${events.slice(-3).map(({ type }) => type).join(', ')}`)
}

/** An authority and two certificates of it, made by openssl; null where there is none. */
function certificates() {
  const run = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  try {
    run('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=test authority', '-keyout', 'ca.key', '-out', 'ca.pem')
    for (const name of ['localhost', 'dev']) {
      writeFileSync(join(folder, `${name}.ext`), `subjectAltName=DNS:${name}\n`)
      run('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
      run('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.pem`)
      writeFileSync(join(folder, `${name}.both`), readFileSync(join(folder, `${name}.pem`), 'utf8') + readFileSync(join(folder, `${name}.key`), 'utf8'))
    }
  } catch {
    return null
  }
  const file = (name) => readFileSync(join(folder, name), 'utf8')
  return { ca: file('ca.pem'), server: { cert: file('localhost.pem'), key: file('localhost.key') }, client: { cert: file('dev.pem'), key: file('dev.key') } }
}

/** Both directions, with certificates of both ends. */
async function withTls() {
  const made = certificates()
  if (made === null) return console.log('skipped: TLS needs openssl')
  const [dialPort, webPort, target] = [await freePort(), await freePort(), await webServer()]
  const path = (name) => join(folder, name)
  haproxy('tls-public', `frontend dialled
  bind 127.0.0.1:${dialPort} ssl crt ${path('localhost.both')} ca-file ${path('ca.pem')} verify required alpn h2
  tcp-request session attach-srv services/dev
frontend web
  bind 127.0.0.1:${webPort}
  default_backend services
backend services
  http-reuse always
  server dev rhttp@
`)
  await wait(500)
  const gateway = gatewayTo(target)
  const dialler = reverseHttp2Connect({ to: `rhttp@127.0.0.1:${dialPort}`, tls: { ca: made.ca, ...made.client, serverName: 'localhost' } }, (stream, headers, raw) => gateway.stream('web', stream, headers, raw))
  const full = await until(() => dialler.state === 'FULL')
  const answer = full ? await ask(webPort, '/tls') : { status: 0 }
  saw('public HAProxy with TLS and client certificates', answer.status === 200, `state ${dialler.state}, status ${answer.status}`)
  const nobody = reverseHttp2Connect({ to: `127.0.0.1:${dialPort}`, tls: { ca: made.ca, serverName: 'localhost' } }, () => {})
  const changes = []
  nobody.state$.subscribe((change) => changes.push(change))
  saw('the same without our certificate', await until(() => nobody.state === 'ERR'), changes.at(-1).reason)
  await Promise.all([dialler.stop(), nobody.stop()])
  const listener = await reverseHttp2Listen({ local: '127.0.0.1:0', tls: { ...made.server, ca: made.ca } })
  undo.push(() => listener.close())
  haproxy('tls-private', `frontend served
  bind rhttp@away/srv nbconn 1
  default_backend app
backend away
  server srv ${listener.local[0]} ssl verify required ca-file ${path('ca.pem')} crt ${path('dev.both')} sni str(localhost) alpn h2
backend app
  server web 127.0.0.1:${target}
`)
  const there = await until(() => listener.sizes().dev === 1)
  const stream = there ? (await listener.session('dev')).request({ ':path': '/tls', ':authority': 'dev', ':scheme': 'http' }) : null
  const [headers] = stream === null ? [{}] : await once(stream, 'response')
  stream?.resume()
  saw('private HAProxy with TLS; its certificate is the key', headers[':status'] === 200, `pools ${JSON.stringify(listener.sizes())}, status ${headers[':status']}`)
  await gateway.close()
}

/** How often a HAProxy comes that is turned away before SETTINGS, or left without them. */
async function turnedAway() {
  for (const [name, onSocket] of [['closed before SETTINGS', (socket) => socket.end()], ['silence (timeout connect 500ms)', () => {}]]) {
    const atMs = []
    const sockets = new Set()
    const server = createNet((socket) => {
      atMs.push(performance.now())
      sockets.add(socket)
      socket.on('error', () => {})
      socket.resume()
      onSocket(socket)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = haproxy('away', `frontend served
  bind rhttp@away/srv nbconn 1
backend away
  server srv 127.0.0.1:${server.address().port} proto h2
`)
    await until(() => atMs.length >= 4)
    saw(`private HAProxy, ${name}`, atMs.length >= 4, `comes again after ${atMs.slice(1).map((ms, at) => `${Math.round(ms - atMs[at])} ms`).join(', ')}; ${proxy.lines.filter((line) => /retry|error|fail/i.test(line)).length} lines of log`)
    await proxy.stop()
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

try {
  await publicHaproxy()
  await privateHaproxy()
  await withTls()
  await turnedAway()
} finally {
  for (const step of undo.splice(0).toReversed()) await step()
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
