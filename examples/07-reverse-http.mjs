// 07-reverse-http.mjs: a web server behind NAT dials out; the public end sends it requests
import http from 'node:http'
import { createDevCertificate } from 'quicbraid'
import { reverseConnect, reverseListen } from 'quicbraid/reverse'
const front = createDevCertificate(), web = createDevCertificate({ names: ['web'] })
const listener = await reverseListen({ local: '127.0.0.1:0', cert: front.cert, key: front.key, pins: [web.pin] })
const app = http.createServer((request, response) => { response.end(`hello ${request.url}`) })
const dialler = reverseConnect({ to: listener.local[0], identity: web, service: 'web', connection: { pins: [front.pin] } },
  (stream) => { app.emit('connection', stream.toDuplex()) })
const stream = await listener.pool().request('web', { waitForMs: 5000 })
const socket = stream.toDuplex()
http.get({ path: '/from-outside', host: 'web', createConnection: () => socket }, async (response) => {
  for await (const chunk of response) console.log(String(chunk))
  await Promise.all([dialler.stop(), listener.close()])
})
