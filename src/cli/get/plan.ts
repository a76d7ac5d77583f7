/** What `get` is to fetch and where each file goes; checked before anything is bound or sent. Pure. */
import { join } from 'node:path'
import { usageError } from '../exit.ts'
import { parseUrl } from '../parse.ts'
import type { FileUrl } from '../parse.ts'

export interface OutputValues {
  output?: string
  remoteName?: true
  directory?: string
  sha256?: string
  json?: true
}

export interface Job extends FileUrl {
  /** Where it goes; null = standard output. */
  file: string | null
  /** Expected, lower-case hex. */
  sha256: string | null
}

/** One job a URL, in order. @throws usage errors */
export function planJobs(urls: readonly string[], values: OutputValues, resultIsScreen: boolean): Job[] {
  const byName = values.remoteName === true || values.directory !== undefined
  if (values.output !== undefined && byName) throw usageError('-o names one file; use it without -O and -P')
  if (values.output !== undefined && urls.length > 1) throw usageError('-o names one file; use -O or -P for several URLs')
  if (values.json === true && values.output === undefined && !byName) throw usageError('--json writes its result to stdout; say where the file goes with -o, -O or -P')
  if (values.output === undefined && !byName && resultIsScreen) throw usageError('the file would go to the terminal; say where with -o, -O or -P, or use a pipe')
  if (values.sha256 !== undefined && urls.length > 1) throw usageError('--sha256 is for one URL')
  const sha256 = values.sha256?.toLowerCase() ?? null
  if (sha256 !== null && !/^[0-9a-f]{64}$/.test(sha256)) throw usageError(`--sha256: '${values.sha256}' is not 64 hex digits`)
  const jobs = urls.map((text) => {
    const url = parseUrl(text)
    return { ...url, file: values.output ?? (byName ? namedFile(url, values.directory) : null), sha256 }
  })
  refuseTwins(jobs)
  return jobs
}

/** Jobs by the connection they share, in order of first mention. */
export function byOrigin(jobs: readonly Job[]): Map<string, Job[]> {
  const origins = new Map<string, Job[]>()
  for (const job of jobs) origins.set(job.origin, [...(origins.get(job.origin) ?? []), job])
  return origins
}

function namedFile(url: FileUrl, directory: string | undefined): string {
  if (url.name === null) throw usageError(`'${url.url}' has no file name; use -o`)
  return directory === undefined ? url.name : join(directory, url.name)
}

function refuseTwins(jobs: readonly Job[]): void {
  const seen = new Map<string, string>()
  for (const { file, url } of jobs) {
    const twin = file === null ? undefined : seen.get(file)
    if (twin !== undefined) throw usageError(`'${twin}' and '${url}' would both be written to ${file}`)
    if (file !== null) seen.set(file, url)
  }
}
