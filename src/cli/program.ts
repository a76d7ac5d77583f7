/** All commands and their help. One file a command says what it does; this one says which there are. */
import { Command } from 'commander'
import { packageVersion } from '../config/index.ts'
import { addCert } from './cert.ts'
import { addDemo } from './demo/command.ts'
import { Exit } from './exit.ts'
import type { ExitCode } from './exit.ts'
import { addGet } from './get/command.ts'
import { addInterop } from './interop/index.ts'
import { addLab } from './lab/command.ts'
import { addNat } from './nat/command.ts'
import { addRelay } from './relay/index.ts'
import { addReverse } from './reverse/index.ts'
import { addServe } from './serve.ts'
import type { Terminal } from './terminal.ts'
import { addTunnel } from './tunnel/index.ts'
import { addUnavailable } from './unavailable.ts'

/** What a command's action gets besides its options. */
export interface Context {
  terminal: Terminal
  /** The file that Node runs; forked again by the demo. */
  entry: string
  /** Sets the exit code of a command that ended without an error. */
  end(code: ExitCode): void
}

export interface Program {
  run(argv: readonly string[]): Promise<ExitCode>
}

export function createProgram(terminal: Terminal, entry: string): Program {
  let exit: ExitCode = Exit.DONE
  const context: Context = { terminal, entry, end: (code) => { exit = code } }
  const program = new Command('quicbraid')
    .description('Multipath QUIC: several network paths braided into one connection.')
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError('(--help shows the options)')
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.result(text.trimEnd()), writeErr: (text) => terminal.note(text.trimEnd()) })
  addDemo(program, context)
  addServe(program, context)
  addGet(program, context)
  addInterop(program, context)
  addLab(program, context)
  addNat(program, context)
  addRelay(program, context)
  addReverse(program, context)
  addTunnel(program, context)
  addCert(program, context)
  addUnavailable(program)
  for (const command of program.commands) command.exitOverride().copyInheritedSettings(program)
  return {
    async run(argv) {
      await program.parseAsync(argv)
      return exit
    },
  }
}
