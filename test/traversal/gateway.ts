/** Gateways on loopback that keep their mappings in a table: one speaks NAT-PMP (RFC 6886), one UPnP (IGD 2). And one without a wire. */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { MapRequest, PortMapper, PortMapping } from '../../src/nat/index.ts'

export interface Gateway {
  /** `ip:port`, or the place of its description. */
  at: string
  /** External port to `internal port, seconds`. */
  table: Map<number, string>
  close(): Promise<void>
}

/** `mangle`: what is sent in place of an answer. */
export async function natPmpGateway(mangle: (answer: Buffer, count: number) => Buffer[] = (answer) => [answer]): Promise<Gateway> {
  const table = new Map<number, string>()
  const socket = createSocket('udp4')
  let count = 0
  socket.on('message', (request, from) => {
    const answer = Buffer.alloc(request[1] === 0 ? 12 : 16)
    answer[1] = 128 + (request[1] ?? 0)
    if (request[1] === 0) answer.set([198, 51, 100, 9], 8)
    else {
      const [internal, seconds] = [request.readUInt16BE(4), Math.min(request.readUInt32BE(8), 3600)]
      const external = internal + 1
      if (seconds === 0) table.delete(external)
      else table.set(external, `${internal}, ${seconds}`)
      answer.writeUInt16BE(internal, 8)
      answer.writeUInt16BE(seconds === 0 ? 0 : external, 10)
      answer.writeUInt32BE(seconds, 12)
    }
    for (const bytes of mangle(answer, count++)) socket.send(bytes, from.port, from.address)
  })
  await new Promise<void>((resolve) => void socket.bind(0, '127.0.0.1', resolve))
  return { at: `127.0.0.1:${socket.address().port}`, table, close: () => new Promise((resolve) => void socket.close(() => resolve())) }
}

export async function upnpGateway(): Promise<Gateway> {
  const table = new Map<number, string>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const [status, text] = request.url === '/root.xml' ? [200, DESCRIPTION] : control(Buffer.concat(chunks).toString(), String(request.headers['soapaction']), table)
      response.writeHead(status, { 'content-type': 'text/xml' }).end(text)
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    at: `http://127.0.0.1:${(server.address() as AddressInfo).port}/root.xml`, table,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => void server.close(() => resolve()))
    },
  }
}

const SERVICE = 'urn:schemas-upnp-org:service:WANIPConnection:2'
const DESCRIPTION = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:2</deviceType><UDN>uuid:gateway</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:2</deviceType><deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:2</deviceType>
<serviceList><service><serviceType>${SERVICE}</serviceType><controlURL>/control</controlURL><SCPDURL>/scpd.xml</SCPDURL></service></serviceList></device></deviceList></device></deviceList></device></root>`

function control(body: string, action: string, table: Map<number, string>): [number, string] {
  const value = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1] ?? ''
  const external = Number(value('NewExternalPort'))
  if (action.includes('#GetExternalIPAddress')) return answer('GetExternalIPAddressResponse', '<NewExternalIPAddress>198.51.100.9</NewExternalIPAddress>')
  if (value('NewProtocol') !== 'UDP') return fault(402, 'Invalid Args')
  if (action.includes('#DeletePortMapping')) return table.delete(external) ? answer('DeletePortMappingResponse', '') : fault(714, 'NoSuchEntryInArray')
  // Ports below this are taken here.
  const reserved = Math.max(external, 20_000)
  table.set(reserved, `${value('NewInternalClient')}:${value('NewInternalPort')}, ${value('NewLeaseDuration')}`)
  return answer('AddAnyPortMappingResponse', `<NewReservedPort>${reserved}</NewReservedPort>`)
}

function envelope(inner: string): string {
  return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>${inner}</s:Body></s:Envelope>`
}

function answer(name: string, inner: string): [number, string] {
  return [200, envelope(`<u:${name} xmlns:u="${SERVICE}">${inner}</u:${name}>`)]
}

function fault(code: number, words: string): [number, string] {
  return [500, envelope(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>${code}</errorCode><errorDescription>${words}</errorDescription></UPnPError></detail></s:Fault>`)]
}

/** Answers as a test says. */
export class FakeMapper implements PortMapper {
  readonly asked: MapRequest[] = []
  readonly released: string[] = []
  external = '198.51.100.7:5000'
  lifetimeMs = 3_600_000
  refusal: string | null = null

  async map(request: MapRequest): Promise<PortMapping> {
    this.asked.push(request)
    if (this.refusal !== null) throw new Error(this.refusal)
    const { external, lifetimeMs } = this
    return { external, lifetimeMs, release: async () => void this.released.push(external) }
  }
}
