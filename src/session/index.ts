/** What makes the next connection to a server cheaper: tickets and address tokens, and where they are kept. */
export { SessionKeeper } from './keeper.ts'
export type { TakenSession } from './keeper.ts'
export { memoryStore } from './memory.ts'
export { SessionKeepers } from './keepers.ts'
