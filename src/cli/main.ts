#!/usr/bin/env node
/** The command `quicbraid`: reads the command line, runs one command, ends with its exit code. */
import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { asCommandError, errorJson, Exit } from './exit.ts'
import type { ExitCode } from './exit.ts'
import { createProgram } from './program.ts'
import { runDemoProcess } from './demo/process.ts'
import { endQuietlyOnBrokenPipe, Terminal } from './terminal.ts'

const DEMO_PROCESS = 'demo-process'

async function main(argv: readonly string[]): Promise<ExitCode> {
  const terminal = new Terminal()
  try {
    return await createProgram(terminal, fileURLToPath(import.meta.url)).run(argv)
  } catch (error) {
    return fail(error, terminal, argv.includes('--json'))
  }
}

function fail(error: unknown, terminal: Terminal, json: boolean): ExitCode {
  if (error instanceof CommanderError) {
    // Help and version are no failures; commander has written what there was to say.
    if (error.exitCode === 0) return Exit.DONE
    if (json) terminal.json({ ok: false, error: { code: 'QB_OPTION_INVALID', message: error.message.replace(/^error: /, ''), errorCode: null, codeName: null, by: null, path: null } })
    return Exit.USAGE
  }
  const failure = asCommandError(error, 'preparing')
  if (json) terminal.json({ ok: false, error: errorJson(failure), ...failure.facts })
  else terminal.note(`${terminal.colors.red('error:')} ${failure.message}${failure.code === 'QB_INTERNAL' ? '' : terminal.colors.dim(` (${failure.code})`)}`)
  if (failure.code === 'QB_INTERNAL' && failure.cause instanceof Error && failure.cause.stack !== undefined) terminal.note(failure.cause.stack)
  return failure.exit
}

endQuietlyOnBrokenPipe()
const [, , first, role] = process.argv
if (first === DEMO_PROCESS && role !== undefined) await runDemoProcess(role)
else process.exitCode = await main(process.argv)
