/** `quicbraid nat …`: everything about ways through NATs. One file a command says what it does. */
import type { Command } from 'commander'
import type { Context } from '../program.ts'
import { addRelay } from '../relay/index.ts'
import { addClassify } from './classify.ts'
import { addMatrix } from './matrix.ts'
import { addPunch } from './punch.ts'
import { addStunServer } from './stun-server.ts'

export function addNat(program: Command, context: Context): void {
  const nat = program.command('nat').description('ways through NATs: what stands before you, who can be met directly')
  addClassify(nat, context)
  addStunServer(nat, context)
  addPunch(nat, context)
  addMatrix(nat, context)
  addRelay(nat, context)
}
