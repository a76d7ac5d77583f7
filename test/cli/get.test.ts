import { describe, expect, it } from 'vitest'
import { byOrigin, planJobs } from '../../src/cli/get/plan.ts'
import { frameOf, summaryOf } from '../../src/cli/get/view.ts'
import { Terminal } from '../../src/cli/terminal.ts'

const SCREEN = true
const PIPE = false
const HASH = 'ab'.repeat(32)
const { colors } = new Terminal(process.stdout, process.stderr, { NO_COLOR: '1' })

function refused(urls: string[], values: object, screen = PIPE): string {
  try {
    planJobs(urls, values, screen)
    return 'accepted'
  } catch (error) {
    expect(error).toMatchObject({ exit: 1 })
    return (error as Error).message
  }
}

describe('where files go', () => {
  it('is what -o, -O, -P or a pipe say', () => {
    const url = 'https://h/dir/name.bin'
    expect(planJobs([url], { output: 'x' }, SCREEN)[0]?.file).toBe('x')
    expect(planJobs([url], { remoteName: true }, SCREEN)[0]?.file).toBe('name.bin')
    expect(planJobs([url], { directory: 'there' }, SCREEN)[0]?.file).toBe('there/name.bin')
    expect(planJobs([url], {}, PIPE)[0]?.file).toBeNull()
    expect(planJobs([url], { output: 'x', sha256: HASH.toUpperCase() }, SCREEN)[0]?.sha256).toBe(HASH)
  })

  it('is never the screen, never beside the JSON, never twice the same file', () => {
    expect(refused(['https://h/x'], {}, SCREEN)).toContain('terminal')
    expect(refused(['https://h/x'], { json: true })).toContain('-o, -O or -P')
    expect(refused(['https://h/x', 'https://g/x'], { remoteName: true })).toContain('both')
    expect(refused(['https://h/x', 'https://h/y'], { output: 'z' })).toContain('one file')
    expect(refused(['https://h/x'], { output: 'z', remoteName: true })).toContain('without -O')
    expect(refused(['https://h/'], { remoteName: true })).toContain('no file name')
    expect(refused(['https://h/x'], { output: 'z', sha256: 'abc' })).toContain('64 hex')
  })

  it('groups URLs of one origin', () => {
    const jobs = planJobs(['https://h/1', 'https://g/2', 'https://h:4433/3'], { directory: 'd' }, PIPE)
    expect([...byOrigin(jobs)].map(([origin, list]) => [origin, list.map(({ path }) => path)])).toEqual([['h:4433', ['/1', '/3']], ['g:4433', ['/2']]])
  })
})

describe('what a person sees', () => {
  const report = {
    id: 1, local: '127.0.0.2:4000', remote: '127.0.0.1:4433', status: 'available', bytesSent: 1000, bytesReceived: 2_097_152, rttMs: 10.04, minRttMs: 10, lost: 3, bytesReinjected: 0,
    bursts: 4, segmentsPerBurst: 2.5, state: 'open', reason: '',
  }

  it('is each path with its rate', () => {
    const frame = frameOf({ done: 0, jobs: 1, bytes: 2_097_152, ms: 1000 }, [{ report, rateBitsPerSec: 16.8e6 }], colors)
    expect(frame.lines).toEqual(['2 MiB  16.8 Mbit/s', '  path 1  127.0.0.2:4000  16.8 Mbit/s  2 MiB  rtt 10 ms'])
    expect(frame.line).toBe('2 MiB  16.8 Mbit/s  path 1 16.8 Mbit/s')
  })

  it('is the files and paths at the end', () => {
    const lines = summaryOf([{ url: 'u', file: 'f', bytes: 10, sha256: HASH, ms: 5 }], { bytes: 10, seconds: 0.005, stallMs: 2 }, [report])
    expect(lines[0]).toBe(`f  10 B  5 ms  sha256 ${HASH}`)
    expect(lines[1]).toBe('10 B in 5 ms (16 kbit/s), longest stall 2 ms')
    expect(lines[3]).toContain('127.0.0.2:4000')
  })
})
