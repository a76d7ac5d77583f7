/** `quicbraid interop`: client or server of the quic-interop-runner, told by environment variables (api section 4). */
import type { Command } from 'commander'
import type { Context } from '../program.ts'
import { CASES, caseNamed } from './cases.ts'
import { runClient } from './client.ts'
import { unsupported } from './endpoint.ts'
import { readEnvironment } from './environment.ts'
import { runServer } from './server.ts'

export function addInterop(program: Command, { terminal }: Context): void {
  program.command('interop')
    .description('endpoint of the quic-interop-runner, told by ROLE, TESTCASE, REQUESTS, ...')
    .option('--list', 'show the test cases')
    .option('--json', 'with --list: one JSON object')
    .action(async ({ list, json }: { list?: true; json?: true }) => {
      const names = CASES.map(({ name }) => name)
      if (list === true) {
        if (json === true) terminal.json({ ok: true, cases: names })
        else terminal.result(names.join('\n'))
        return
      }
      const environment = readEnvironment(process.env)
      const row = caseNamed(environment.testcase)
      if (row === null) throw unsupported(environment.testcase, 'it is not known; --list shows the cases')
      await (environment.role === 'client' ? runClient : runServer)(row, environment, terminal)
    })
}
