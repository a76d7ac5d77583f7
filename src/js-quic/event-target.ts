/** Event targets of the façade. What a stream dispatches is heard at its connection, too, and from there at the client or server; of sockets that are not shared likewise. */
import { setMaxListeners } from 'node:events'
import type { EventQUIC } from './events.ts'

/** More listeners than these on one object are warned of. */
const MAX_LISTENERS = 100_000

/** A listener may name the event class it expects, which its string does not tell the compiler. */
// oxlint-disable-next-line typescript/no-explicit-any -- the type of the event follows from a string
export type Listener = ((event: any) => void) | { handleEvent(event: any): void } | null

export class QUICEventTarget extends EventTarget {
  constructor() {
    super()
    setMaxListeners(MAX_LISTENERS, this)
  }

  override addEventListener(type: string, listener: Listener, options?: { once?: boolean; capture?: boolean; signal?: AbortSignal } | boolean): void {
    super.addEventListener(type, listener as Parameters<EventTarget['addEventListener']>[1], options as object)
  }

  override removeEventListener(type: string, listener: Listener, options?: { capture?: boolean } | boolean): void {
    super.removeEventListener(type, listener as Parameters<EventTarget['removeEventListener']>[1], options as object)
  }
}

const parents = new WeakMap<QUICEventTarget, QUICEventTarget>()

/** From here on `parent` hears copies of what `child` emits. */
export function adopt(child: QUICEventTarget, parent: QUICEventTarget): void {
  parents.set(child, parent)
}

export function emit(target: QUICEventTarget, event: EventQUIC<unknown>): void {
  target.dispatchEvent(event)
  const parent = parents.get(target)
  if (parent !== undefined) emit(parent, event.clone())
}
