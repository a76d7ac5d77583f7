/**
 * The Redis server between a sweep and its workers elsewhere: its address, the packages that speak to it, names of queues. Neither package
 * is a dependency: they are loaded when somebody asks for such workers.
 *
 * A queue is of one version of this package and of one experiment file, by its content: a worker of another version or with another file
 * listens elsewhere, so that what it would make of a run never becomes a row.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type * as BullMq from 'bullmq'
import type { Redis } from 'ioredis'
import { invalidOption, packageVersion } from '../../config/index.ts'
import { ServiceError } from '../../errors/index.ts'
import { BUILT_IN_PREFIX } from '../load.ts'

export type RedisUrl = `redis://${string}`

/** Where the server is, in the words of both packages. */
export interface Address {
  host: string
  port: number
  db: number
  username?: string
  password?: string
}

export interface Server {
  bullmq: typeof BullMq
  address: Address
  /** For keys of our own. */
  client: Redis
  /** `host:port/db`, without the password. */
  name: string
}

/** A job: one run. `experiment`: the name of a built-in one; empty: that of the queue's file. */
export interface Job {
  sweep: string
  experiment: string
  cell: Readonly<Record<string, string | number | boolean | null>>
  seed: number
}

/** A server that does not answer within this is not there. */
const CONNECT_MS = 5000
const PORT = 6379

/** @throws QB_OPTION_INVALID */
export function parseAddress(url: string): Address {
  const allowed = 'redis://[user:password@]host[:port][/db]'
  if (!URL.canParse(url)) throw invalidOption('workers', url, allowed)
  const { protocol, hostname, port, pathname, username, password } = new URL(url)
  const db = pathname.replace(/^\//, '') || '0'
  if (protocol !== 'redis:' || hostname === '' || !/^\d{1,5}$/.test(db)) throw invalidOption('workers', url, allowed)
  return {
    host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? PORT : Number(port), db: Number(db),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }), ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  }
}

/** A connection that stands. Close `client`. @throws QB_LAB_QUEUE QB_OPTION_INVALID */
export async function openServer(url: string): Promise<Server> {
  const address = parseAddress(url)
  const name = `${address.host}:${address.port}/${address.db}`
  const bullmq = await loaded(import('bullmq'))
  const { Redis } = await loaded(import('ioredis'))
  const client = new Redis({ ...address, lazyConnect: true, connectTimeout: CONNECT_MS, maxRetriesPerRequest: 1 })
  let why = 'no answer'
  client.on('error', (error: Error) => { why = error.message || String((error as { code?: unknown }).code) })
  const over = new Promise<never>((_, reject) => void client.once('close', () => reject(new Error(why))))
  try {
    await Promise.race([client.connect().then(() => client.ping()), over])
  } catch (error) {
    client.disconnect()
    throw new ServiceError('QB_LAB_QUEUE', `the Redis server ${name} cannot be used: ${why === 'no answer' && error instanceof Error ? error.message : why}`, { cause: error })
  }
  return { bullmq, address, client, name }
}

/** @throws QB_LAB_MODULE if the file cannot be read */
export function queueOf(module: string): string {
  const base = `quicbraid-lab-${packageVersion()}`
  if (module.startsWith(BUILT_IN_PREFIX)) return base
  try {
    const bytes = readFileSync(module.startsWith('file:') ? fileURLToPath(module) : module)
    return `${base}-${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`
  } catch (error) {
    throw new ServiceError('QB_LAB_MODULE', `${module} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

/** There as long as somebody waits for the rows of a sweep. */
export function aliveKey(queue: string, sweep: string): string {
  return `${queue}:alive:${sweep}`
}

/** What an import answers. @throws QB_LAB_QUEUE saying what to install */
export async function loaded<T>(module: Promise<T>): Promise<T> {
  try {
    return await module
  } catch (error) {
    throw new ServiceError('QB_LAB_QUEUE', 'workers on other machines need two packages that are not installed: npm install bullmq ioredis', { cause: error })
  }
}
