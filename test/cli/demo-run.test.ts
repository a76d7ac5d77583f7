/** How the demo leads its three processes, with processes that only speak. */
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import type { DemoValues } from '../../src/cli/demo/command.ts'
import { jsonOf } from '../../src/cli/demo/report.ts'
import { DemoRun } from '../../src/cli/demo/run.ts'
import { CommandError, Exit } from '../../src/cli/exit.ts'
import { Progress } from '../../src/cli/progress.ts'
import { Terminal } from '../../src/cli/terminal.ts'

const VALUES: DemoValues = { size: 1000, rate: 250e6, delay: 5, cutAt: 0.4, restoreAt: 0.7, cut: true, scheduler: 'round-robin' }
const entry = fileURLToPath(new URL('fake-demo-process.mjs', import.meta.url))

let stops: (() => Promise<void>)[] = []

afterEach(async () => {
  delete process.env['FAKE_DEMO']
  for (const stop of stops) await stop()
  stops = []
})

function demo(mode: string, values: Partial<DemoValues> = {}): { run: DemoRun; notes: () => string; stop: AbortController; started: ReturnType<DemoRun['start']> } {
  process.env['FAKE_DEMO'] = mode
  const said = { text: '' }
  const terminal = new Terminal({ write: () => undefined }, { write: (text: string) => (said.text += text) }, {})
  const stop = new AbortController()
  const run = new DemoRun({ values: { ...VALUES, ...values }, entry, folder: '/nowhere', terminal, signal: stop.signal })
  stops.push(() => run.stop())
  const started = run.start('/some/file', new Progress(terminal, 'shown', () => run.frame()))
  return { run, notes: () => said.text, stop, started }
}

describe('a run of the demo', () => {
  it('cuts and restores the second link by the relay alone, and joins what both ends counted', async () => {
    const { started, notes, run } = demo('good')
    const measured = await started
    expect(measured.links.map((link) => link.droppedByCut)).toEqual([0, 2]) // one cut, one restoration
    expect(measured.cut?.link).toBe(1)
    expect(jsonOf(measured)).toMatchObject({
      ok: true, bytes: 1000, stallMs: 3, handshake: { ms: 5, datagrams: 4, coalesced: 2 },
      paths: [{ id: 0, bytesSent: 600, bytesReceived: 600, segmentsPerBurst: 3 }, { id: 1, bytesSent: 600, bytesReceived: 500 }],
    })
    expect(notes()).toContain('40 %: link 1 is cut')
    expect(notes()).toContain('70 %: link 1 is whole again')
    expect(run.frame().line).toContain('1000 B of 1000 B')
  })

  it('leaves the links alone when asked to', async () => {
    const { started } = demo('good', { cut: false })
    expect(await started).toMatchObject({ cut: null, links: [{ droppedByCut: 0 }, { droppedByCut: 0 }] })
  })

  it('fails with the reason of the process that failed', async () => {
    await expect(demo('fail').started).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE', exit: Exit.REFUSED, message: 'client: refused' })
  })

  it('fails when a process dies', async () => {
    await expect(demo('die').started).rejects.toMatchObject({ code: 'QB_DEMO_PROCESS', exit: Exit.INCOMPLETE, message: 'the client process ended with code 7' })
  })

  it('ends when it is interrupted', async () => {
    const { started, stop } = demo('hang')
    const reason = new CommandError('QB_INTERRUPTED', Exit.SIGINT, 'interrupted')
    setTimeout(() => stop.abort(reason), 300)
    await expect(started).rejects.toBe(reason)
  })
})
