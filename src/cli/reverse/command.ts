/** `quicbraid reverse …`: connections that are dialled by who has the service and used by who wants it. One file a command says what it does. */
import type { Command } from 'commander'
import type { Context } from '../program.ts'
import { addDial } from './dial.ts'
import { addListen } from './listen.ts'

export function addReverse(program: Command, context: Context): void {
  const reverse = program.command('reverse').description('services behind NATs: they dial out, requests come in')
  addDial(reverse, context)
  addListen(reverse, context)
}
