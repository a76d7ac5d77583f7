/** What the contract has and this version does not, each with its reason; and what classes show beyond the contract. Both lists only shrink. */

/** May be there or not while it is being written. */
export const UNDER_WAY = 'the carrier driver and its datagrams are being written'

/** Of `docs/spec/api.md`. A name that is published must leave this list. */
export const ABSENT = {
  ...because(UNDER_WAY, 'CarrierOptions', 'CarrierBurst', 'CarrierDatagram', 'CarrierEndpoint', 'CarrierEndpoint.prometheus', 'Endpoint.static carrier', 'Endpoint.sendRaw', 'Endpoint.raw$'),
  ...because('the counters are there, their text form is not', 'Endpoint.prometheus'),
  ...because('no NAT traversal yet', 'Connection.traversal'),
}

/** Members of published classes that the contract does not have. */
export const EXTRA = {
}

function because(reason, ...names) {
  return Object.fromEntries(names.map((name) => [name, reason]))
}
