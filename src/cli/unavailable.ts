/** Commands of the contract (api section 4) that this version does not have. They say so instead of being unknown. */
import type { Command } from 'commander'
import { usageError } from './exit.ts'

const COMMANDS: readonly (readonly [name: string, what: string])[] = [
  ['put', 'upload files'],
  ['perf', 'measure a connection'],
  ['dash', 'page with live paths and bursts'],
  ['qlog', 'inspect and convert logs'],
]

export function addUnavailable(program: Command): void {
  for (const [name, what] of COMMANDS) {
    program.command(name, { hidden: true }).description(`${what} (not available in this version)`)
      .argument('[rest...]').allowUnknownOption().helpOption(false)
      .action(() => {
        throw usageError(`the command '${name}' (${what}) is not available in this version; there are: demo, serve, get, interop, lab, nat, relay, reverse, tunnel, cert`)
      })
  }
}
