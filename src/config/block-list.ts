/** A `net.BlockList` as the engine takes it: its rules, read from the words in which Node tells them. */
import { isIP } from 'node:net'
import type { BlockList } from 'node:net'
import type { NativeBlockRule } from '../binding/index.ts'
import { invalidOption } from './check.ts'

const RULE = /^(Address|Range|Subnet): IPv[46] (\S+)$/

/** Every rule of a list. @throws QB_OPTION_INVALID for a rule of a kind that is not known */
export function blockRules(list: BlockList): NativeBlockRule[] {
  return list.rules.map((rule) => {
    const read = readRule(rule)
    if (read === null) throw invalidOption('blockList', rule, "rules made by addAddress, addRange and addSubnet of this version of Node")
    return read
  })
}

/** An address is blocked. */
export function isBlocked(list: BlockList, host: string): boolean {
  const [ip = ''] = host.split('%')
  return list.check(ip, isIP(ip) === 6 ? 'ipv6' : 'ipv4')
}

function readRule(rule: string): NativeBlockRule | null {
  const [, kind, what = ''] = RULE.exec(rule) ?? []
  if (kind === 'Address' && isIP(what) !== 0) return [what, what]
  const [first = '', last = ''] = what.split(kind === 'Range' ? '-' : '/')
  if (kind === 'Range' && isIP(first) !== 0 && isIP(first) === isIP(last)) return [first, last]
  const bits = Number(last)
  if (kind === 'Subnet' && isIP(first) !== 0 && Number.isInteger(bits) && bits >= 0 && bits <= 128) return [first, bits]
  return null
}
