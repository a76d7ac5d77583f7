/** The store an endpoint has when it is given none: in this process, bounded (attacks L18). */
import type { SessionEntry, SessionStore } from '../config/index.ts'

/** Names kept; the one touched longest ago goes. */
const NAMES = 256

export function memoryStore(): SessionStore {
  const names = new Map<string, SessionEntry[]>()
  return {
    get: (key) => names.get(key) ?? [],
    set: (key, entries) => {
      names.delete(key)
      if (entries.length > 0) names.set(key, entries)
      for (const oldest of names.keys()) {
        if (names.size <= NAMES) break
        names.delete(oldest)
      }
    },
  }
}
