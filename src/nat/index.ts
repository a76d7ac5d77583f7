/** Ways through NATs, of endpoints and of connections (api 2.8). What people make themselves stands in `src/traversal`. */
export { NatAgent, agentOf } from './agent.ts'
export { silentServers } from './desk.ts'
export { createTraversal } from './traversal.ts'
export type { ConnectionTraversal } from './traversal.ts'
export type { NatPart } from './part.ts'
export type * from './types.ts'
