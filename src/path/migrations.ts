/** Moves of paths that somebody waits for (RFC 9000 section 9). Whether a path may move is the engine's to say. */
import { fromNative } from '../binding/index.ts'
import type { NativeEvent } from '../binding/index.ts'
import { checkCall, checkFamily, checkPathSpec, invalidOption, nativePath, refuseUnavailable, unavailableOption, waitFor } from '../config/index.ts'
import type { PathSpec, Settle, Waiting } from '../config/index.ts'
import { PathError } from '../errors/index.ts'
import type { PathOwner } from './owner.ts'

/** A server that answers nowhere is given up sooner; one that gives no connection id is not. */
const TIMEOUT_MS = 5000

type MigratedMessage = Extract<NativeEvent, { type: 'path-migrated' }>

export class Migrations {
  readonly #owner: PathOwner
  /** Made by the first move. */
  #waiting: Map<number, Settle<void>> | null = null
  #tickets = 0

  constructor(owner: PathOwner) {
    this.#owner = owner
  }

  /** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_PATH_ROLE */
  check(spec: PathSpec, options: Waiting): PathSpec {
    const { features, role } = this.#owner
    checkCall(options, ['signal'])
    const checked = checkPathSpec(spec, 'spec')
    if (!features.has('migrate')) throw unavailableOption('spec', spec)
    if (checked.status !== undefined) throw invalidOption('spec.status', checked.status, 'nothing; setStatus() sets it')
    if (checked.weight !== undefined) throw invalidOption('spec.weight', checked.weight, 'nothing; setWeight() sets it')
    refuseUnavailable('path', checked, features, 'spec')
    checkFamily(checked, this.#owner.remote(), 'spec')
    if (role === 'server') throw new PathError('QB_PATH_ROLE', 'this side is the server, and only clients move; migrate at the other end')
    return checked
  }

  /** Resolves when the path has moved. */
  async move(path: number, spec: PathSpec, signal: AbortSignal | undefined): Promise<void> {
    const owner = this.#owner
    return waitFor(signal, (settle) => {
      let ticket = 0
      const cancel = owner.sampling.timing.after(TIMEOUT_MS, () => settle.reject(new PathError('QB_PATH_TIMEOUT', `path ${path} had not moved after ${TIMEOUT_MS} ms: the server gave no connection id to spare, or no answer; try again`, { path })))
      let over = false
      owner.confirmed().then(() => {
        if (over) return
        const ended = owner.error()
        if (ended !== null) return settle.reject(ended)
        ticket = this.#tickets += 1
        this.#waiting ??= new Map()
        this.#waiting.set(ticket, settle)
        owner.engine.tell(owner.key, { do: 'migrate-path', ticket, path, spec: nativePath(spec) })
      }, settle.reject)
      return () => {
        over = true
        cancel()
        // Still known: given up here, not answered by the engine.
        if (this.#waiting?.delete(ticket) && owner.error() === null) owner.engine.tell(owner.key, { do: 'cancel-migration', path })
      }
    })
  }

  onMigrated({ ticket, error }: MigratedMessage): void {
    const settle = this.#waiting?.get(ticket)
    this.#waiting?.delete(ticket)
    if (error === null) settle?.resolve()
    else settle?.reject(fromNative(error))
  }

  /** The connection has ended. */
  end(error: Error): void {
    const waiting = [...(this.#waiting?.values() ?? [])]
    this.#waiting?.clear()
    for (const settle of waiting) settle.reject(error)
  }
}
