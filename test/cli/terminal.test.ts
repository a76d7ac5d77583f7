import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Progress } from '../../src/cli/progress.ts'
import { Terminal } from '../../src/cli/terminal.ts'

class Capture {
  text = ''
  readonly isTTY: boolean
  readonly columns: number

  constructor(isTTY: boolean, columns: number) {
    this.isTTY = isTTY
    this.columns = columns
  }

  write(text: string): void {
    this.text += text
  }
}

function terminalOf(tty: boolean, environment: NodeJS.ProcessEnv = {}): { terminal: Terminal; out: Capture; err: Capture } {
  const out = new Capture(tty, 40)
  const err = new Capture(tty, 40)
  return { terminal: new Terminal(out, err, environment), out, err }
}

describe('the terminal', () => {
  it('puts results on stdout and notes on stderr', () => {
    const { terminal, out, err } = terminalOf(false)
    terminal.result('r')
    terminal.note('n')
    expect([out.text, err.text]).toEqual(['r\n', 'n\n'])
  })

  it('writes JSON on one line, with bigints as numbers or text', () => {
    const { terminal, out } = terminalOf(false)
    terminal.json({ small: 4n, large: 2n ** 60n, text: 'a\nb' })
    expect(out.text).toBe('{"small":4,"large":"1152921504606846976","text":"a\\nb"}\n')
  })

  it('uses colours on a screen, and as NO_COLOR and FORCE_COLOR say', () => {
    const colored = (tty: boolean, environment: NodeJS.ProcessEnv): boolean => terminalOf(tty, environment).terminal.colors.red('x') !== 'x'
    expect(colored(true, {})).toBe(true)
    expect(colored(true, { NO_COLOR: '1' })).toBe(false)
    expect(colored(true, { NO_COLOR: '', TERM: 'dumb' })).toBe(false)
    expect(colored(false, {})).toBe(false)
    expect(colored(false, { FORCE_COLOR: '1' })).toBe(true)
    expect(colored(true, { FORCE_COLOR: '0' })).toBe(false)
  })

  it('believes COLUMNS before the stream', () => {
    expect(terminalOf(true, { COLUMNS: '100' }).terminal.columns).toBe(100)
    expect(terminalOf(true).terminal.columns).toBe(40)
  })
})

describe('progress', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }))
  afterEach(() => void vi.useRealTimers())

  const frame = () => ({ lines: ['one', 'two'], line: 'one two' })

  it('is no longer than the screen, of which nothing above could be redrawn', () => {
    const { terminal, err } = terminalOf(true)
    const progress = new Progress(new Terminal(err, Object.assign(err, { rows: 3 }), {}), 'shown', () => ({ lines: ['a', 'b', 'c', 'd'], line: 'a' }))
    expect(terminal.rows).toBe(3)
    progress.start()
    expect(err.text).toBe('\u001B[Ja\nb\n')
    progress.stop()
  })

  it('redraws its lines on a screen and leaves nothing behind', () => {
    const { terminal, err } = terminalOf(true)
    const progress = new Progress(terminal, 'shown', frame)
    progress.start()
    expect(err.text).toBe('\u001B[Jone\ntwo\n')
    progress.note('kept')
    expect(err.text).toContain('\u001B[2A\u001B[Jkept\n\u001B[Jone\ntwo\n')
    progress.stop()
    expect(err.text.endsWith('\u001B[2A\u001B[J')).toBe(true)
    expect(() => progress.stop()).not.toThrow()
  })

  it('says nothing when quiet', () => {
    const { terminal, err } = terminalOf(true)
    const progress = new Progress(terminal, 'quiet', frame)
    progress.start()
    progress.note('x')
    progress.stop()
    expect(err.text).toBe('')
  })

  it('draws nothing without a screen until a line is due', () => {
    const { terminal, err } = terminalOf(false)
    const progress = new Progress(terminal, 'shown', frame)
    progress.start()
    progress.note('kept')
    progress.stop()
    expect(err.text).toBe('kept\n')
  })
})
