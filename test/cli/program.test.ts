import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { refuseOption, transportOptions, trustOptions } from '../../src/cli/options.ts'
import { Terminal } from '../../src/cli/terminal.ts'

function captured(): { terminal: Terminal; out: () => string; err: () => string } {
  const text = { out: '', err: '' }
  const terminal = new Terminal({ write: (more: string) => (text.out += more) }, { write: (more: string) => (text.err += more) }, {})
  return { terminal, out: () => text.out, err: () => text.err }
}

async function outcome(...args: string[]): Promise<{ exit: number; message: string; out: string; err: string }> {
  const { terminal, out, err } = captured()
  try {
    return { exit: await createProgram(terminal, 'cli').run(['node', 'quicbraid', ...args]), message: '', out: out(), err: err() }
  } catch (error) {
    const exit = error instanceof CommanderError ? error.exitCode : (error as { exit: number }).exit
    return { exit, message: (error as Error).message, out: out(), err: err() }
  }
}

/** Of nobody. */
const PIN = 'ab'.repeat(32)

describe('the command line', () => {
  it('shows its help and version on stdout', async () => {
    const help = await outcome('--help')
    expect(help).toMatchObject({ exit: 0 })
    for (const name of ['demo', 'serve', 'get', 'interop', 'lab', 'nat', 'relay', 'reverse', 'tunnel', 'cert']) expect(help.out).toContain(name)
    expect((await outcome('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect((await outcome('get', '--help')).out).toContain('--connect-timeout')
  })

  it('refuses unknown commands, options and bad values with exit 1', async () => {
    for (const args of [['fly'], ['get'], ['get', '--fast', 'https://h/x'], ['demo', '--rate', '5'], ['demo', '--cut-at', '80%'], ['serve'], ['get', '--path', '=', 'https://h/x'], ['get', '-o', 'x', 'ftp://h/x'], ['serve', '.', '--metrics', 'example.net'], ['serve', '.', '--log', 'xml'], ['nat', 'classify'], ['nat', 'punch'], ['nat', 'matrix', '--nats', 'open'], ['nat', 'matrix', '--loss', '100'], ['nat', 'matrix', '--strategy', './missing.ts'], ['nat', 'stun-server', '--dialect', 'turn'], ['relay'], ['tunnel'], ['tunnel', 'h'], ['tunnel', '-L', '8080:h:80'], ['tunnel', '-L', '8080', 'h'], ['tunnel', '-L', '1:h:1', '--carrier', 'header', 'h'], ['tunnel', '-L', '1:h:1', '--allow', 'h:1', 'h'], ['tunnel', '-D', '1080', '--socks-user', 'me', 'h'], ['tunnel', '-L', '1:h:1', '--socks-user', 'a:b', 'h'], ['tunnel', '--server'], ['tunnel', '--server', '--insecure-anyone', 'h'], ['tunnel', '--server', '--insecure-anyone', '--reconnect', 'off'], ['tunnel', '--server', '--insecure-anyone', '-l', ':4433'], ['tunnel', '-L', '1:h:1', '--pin', 'x', 'h'], ['tunnel', '-L', '1:h:1', '--paths', 'eth0', 'h'], ['tunnel', '-L', '1:h:1', '--paths', '127.0.0.1,backup', 'h'], ['tunnel', '--server', '--insecure-anyone', '-L', '1:h:1'], ['tunnel', '--server', '--insecure-anyone', '--client-ca', 'x'], ['tunnel', '--server', '--insecure-anyone', '--allow', '*:80'], ['nat', 'relay', '--rate', 'fast']]) {
      expect((await outcome(...args)).exit, args.join(' ')).toBe(1)
    }
  })

  it('refuses a private end and a public end that are half said, with exit 1 and what is missing', async () => {
    const dial = ['reverse', 'dial', '--to', 'public.example', '--service', 'web', '--target', '8080']
    const listen = ['reverse', 'listen', '--pin', PIN]
    const cases: [string[], string][] = [
      [['reverse', 'dial'], '--to'], [dial.slice(0, 6), '--target'], [[...dial, '--target', 'http://app'], 'is not a target'], [[...dial, '--pool', '0'], 'whole number'], [[...dial, '--retry', 'often'], '1s..30s'], [[...dial, '--proto', 'h3'], 'quic, h2-haproxy'],
      [dial, 'quicbraid cert'], [['reverse', 'listen', '--http', '8080'], 'never open'], [listen, '--http ADDR'], [[...listen, '--tcp', '5432'], 'ADDR=SERVICE'], [[...listen, '--tcp', '1=db', '--sni-map', 'a=b'], '--sni-map is about'],
      [[...listen, '--http', '80', '--front-cert', 'x'], 'identity of --https'], [[...listen, '--http', '80', '--cert', 'x'], 'go together'], [[...listen, '--http', '80', '--proxy-protocol', 'v2'], 'about --tcp'], [[...listen, '--tcp', '1=db', '--proto', 'h2-haproxy'], 'has no --tcp'], [[...listen, '--http', '80', '--proto', 'h2-haproxy'], 'has no --pin'],
      [[...dial, '--early-data'], 'before its handshake'], [[...dial, '--token', 'x'], 'is about a relay'], [[...listen, '--http', '80', '--relay-pin', PIN], '--relay HOST'], [[...listen, '--http', '80', '--sni-map', 'a=b', '--sni-map', 'A=c'], 'a means two services'], [[...listen, '--http', '80', '-l', '4433'], 'IP[:PORT]'],
      [[...dial.slice(0, 3), ':4433', ...dial.slice(4)], 'is not a public end'], [[...dial, '--plain'], 'about --proto'], [[...dial, '--proto', 'h2-haproxy', '--path', '127.0.0.1'], 'has no --path'], [['reverse', 'listen', '--http', '80', '--proto', 'h2-haproxy', '--plain'], 'one --allow-service'],
    ]
    for (const [args, words] of cases) {
      const { exit, message, err } = await outcome(...args)
      expect(exit, args.join(' ')).toBe(1)
      expect(`${message}${err}`, args.join(' ')).toContain(words)
    }
  })

  it('names what this version does not have', async () => {
    for (const name of ['put', 'perf', 'dash', 'qlog']) {
      const { exit, message } = await outcome(name, '--any', 'thing')
      expect(exit, name).toBe(1)
      expect(message).toContain(`'${name}'`)
      expect(message).toContain('not available in this version')
    }
    expect(await outcome('serve', '.', '--allow-put')).toMatchObject({ exit: 1, message: '--allow-put is not available in this version; leave it out' })
    expect(() => refuseOption('--session', 'file')).toThrow('not available')
  })

  it('refuses a folder that is not there with exit 2', async () => {
    const { terminal } = captured()
    await expect(createProgram(terminal, 'cli').run(['node', 'quicbraid', 'serve', '/does/not/exist'])).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('options for the library', () => {
  it('are only those that were given', async () => {
    expect(await transportOptions({})).toEqual({})
    expect(await transportOptions({ path: [{ local: '127.0.0.1' }], scheduler: 'round-robin', multipath: 'require', connectTimeout: 500, idleTimeout: 9000 })).toEqual({
      paths: [{ local: '127.0.0.1' }], scheduler: 'round-robin', multipath: 'require', limits: { handshakeTimeoutMs: 500, idleTimeoutMs: 9000 },
    })
  })

  it('take a scheduler out of a file that exports one', async () => {
    const file = fileURLToPath(new URL('own-scheduler.ts', import.meta.url))
    expect(await transportOptions({ scheduler: file })).toMatchObject({ scheduler: { name: 'second-first', plan: expect.any(Function) } })
    await expect(transportOptions({ scheduler: fileURLToPath(import.meta.resolve('../lab/example.mjs')) })).rejects.toMatchObject({ exit: 1, message: expect.stringContaining('exports no `scheduler`') })
    await expect(transportOptions({ scheduler: './missing.mjs' })).rejects.toMatchObject({ exit: 1, message: expect.stringContaining('./missing.mjs cannot be loaded') })
  })

  it('warn when nothing is verified, and refuse contradictions', async () => {
    const { terminal, err } = captured()
    expect(await trustOptions({ insecure: true, servername: 'a' }, terminal)).toEqual({ verify: 'none', serverName: 'a' })
    expect(err()).toBe('warning: server certificate is not verified\n')
    await expect(trustOptions({ insecure: true, pin: ['x'] }, terminal)).rejects.toMatchObject({ exit: 1 })
    await expect(trustOptions({ cert: 'x' }, terminal)).rejects.toMatchObject({ exit: 1 })
    await expect(trustOptions({ ca: ['/does/not/exist'] }, terminal)).rejects.toMatchObject({ code: 'QB_FILE_ACCESS', exit: 2, message: '--ca /does/not/exist cannot be read: there is no such file (ENOENT)' })
  })
})
