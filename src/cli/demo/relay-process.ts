/** The demo's network: a process that emulates one link a path. The only file of the command line that calls the native module. */
import { Relay } from '../../binding/index.ts'
import type { RelayDirection } from '../../binding/index.ts'
import type { LinkCounts } from './messages.ts'
import type { Port } from './process.ts'

export function runRelay(port: Port): void {
  let relay: Relay | null = null
  const counts = (): LinkCounts[] => (relay?.statistics().links ?? []).map(({ up, toTarget, toClient }) => ({
    up,
    delivered: toTarget.datagrams + toClient.datagrams,
    droppedByCut: both(toTarget, toClient, 'cut'),
    droppedByQueue: both(toTarget, toClient, 'queue'),
  }))
  port.onOrder((order) => {
    switch (order.do) {
      case 'start':
        if (!('links' in order)) return
        relay = new Relay({ links: order.links })
        port.tell({ event: 'relay-ready', listen: relay.statistics().links.map((link) => link.listen) })
        break
      case 'cut':
      case 'restore':
        relay?.command({ do: order.do, link: order.link })
        break
      case 'statistics':
        port.tell({ event: 'relay-statistics', links: counts() })
        break
      case 'stop':
        break
    }
  })
  port.onStop(() => relay?.stop())
}

function both(one: RelayDirection, other: RelayDirection, reason: 'cut' | 'queue'): number {
  return one.dropped[reason] + other.dropped[reason]
}
