/** Which sockets a relay binds. Pure. */
import { usageError } from '../exit.ts'

const IPV4 = /^(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})$/
const IPV6 = /^\[([^\]]+)\]:(\d{1,5})$/

/** With an alternate address both IPs with both ports, as RFC 5780 §6 has it. @throws usage errors */
export function relaySockets(listen: string, alternate: string | undefined): string[] {
  if (alternate === undefined) return [listen]
  const [first, second] = [split(listen, '--listen'), split(alternate, '--alternate')]
  if (first.host === second.host || first.port === second.port || first.six !== second.six) throw usageError(`--alternate ${alternate} is not another IP of the same family with another port than --listen ${listen}`)
  if (/^[0:.]+$/.test(first.host)) throw usageError(`--listen ${listen} means every IP: with --alternate name one`)
  const join = ({ host, six }: typeof first, port: string): string => (six ? `[${host}]:${port}` : `${host}:${port}`)
  return [join(first, first.port), join(second, second.port), join(first, second.port), join(second, first.port)]
}

function split(text: string, option: string): { host: string; port: string; six: boolean } {
  const [four, six] = [IPV4.exec(text), IPV6.exec(text)]
  const [, host, port] = four ?? six ?? []
  if (host === undefined || port === undefined) throw usageError(`${option} '${text}' is not an IP address with a port, like 203.0.113.1:4434`)
  return { host, port, six: six !== null }
}
