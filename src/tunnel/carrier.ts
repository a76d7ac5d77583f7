/** `headerCarrier`: an endpoint over a carrier of the user's whose datagrams have the header of pseudo-ports in front (tunnel.md §1). The tunnel's code is the same on it as on UDP. */
import { checkDatagrams } from '../config/index.ts'
import type { CarrierOptions } from '../config/index.ts'
import { Endpoint } from '../endpoint/index.ts'
import type { CarrierEndpoint } from '../endpoint/index.ts'
import { EndpointError } from '../errors/index.ts'
import { Demux } from './demux.ts'
import { HEADER_BYTES } from './header.ts'
import { SERVER_LOCAL } from './names.ts'

/** QUIC needs 1200 of it (RFC 9000 §14). */
const LEAST_BYTES = 1200 + HEADER_BYTES

const DEMUXES = new WeakMap<Endpoint, Demux>()

/** As `Endpoint.carrier`; addresses in `send` and `receive` are the carrier's, those of its connections are of a private range. @throws as `Endpoint.carrier`, QB_CARRIER_TOO_SMALL below 1204 */
export function headerCarrier(options: CarrierOptions): CarrierEndpoint {
  // What is no carrier at all is refused in the words of every carrier.
  if (typeof options !== 'object' || options === null || typeof options.send !== 'function') return Endpoint.carrier(options)
  const { maxDatagramSizeBytes: size, local } = options
  if (typeof size === 'number' && size < LEAST_BYTES) {
    throw new EndpointError('QB_CARRIER_TOO_SMALL', `the carrier takes datagrams of ${size} bytes (maxDatagramSizeBytes); with the header of pseudo-ports QUIC needs ${LEAST_BYTES}, use one that takes as much`, { value: { size, needed: LEAST_BYTES } })
  }
  const demux = new Demux(local)
  const endpoint = Endpoint.carrier({
    ...options, local: SERVER_LOCAL, maxDatagramSizeBytes: typeof size === 'number' ? size - HEADER_BYTES : size,
    send: (burst) => {
      const outward = demux.outward(burst)
      return outward === null ? undefined : options.send(outward)
    },
  })
  const { receive } = endpoint
  DEMUXES.set(endpoint, demux)
  return Object.assign(endpoint, { receive: (datagrams: Parameters<CarrierEndpoint['receive']>[0]) => receive(demux.inward(checkDatagrams(datagrams))) })
}

/** Undefined for endpoints without the header. */
export function demuxOf(endpoint: Endpoint): Demux | undefined {
  return DEMUXES.get(endpoint)
}
