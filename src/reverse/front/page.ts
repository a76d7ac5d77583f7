/** What a client reads where the service could not answer: one short sentence that says why, and nothing of what is inside. */
import { STATUS_CODES } from 'node:http'
import { isQuicbraidError } from '../../errors/index.ts'
import type { Field } from './fields.ts'
import type { FrontReason } from './options.ts'

/** Why a request failed, for the client and for the books. */
export interface Failure {
  status: number
  reason: FrontReason
  text: string
}

const NOBODY = new Set(['QB_REVERSE_NO_CONNECTION', 'QB_REVERSE_DRAINING', 'QB_REVERSE_FULL', 'QB_REVERSE_BUSY', 'QB_REVERSE_SHUTDOWN'])
const RETRY_AFTER_S = '1'

export interface Page {
  message: string
  fields: Field[]
  body: Buffer
}

export function pageOf({ status, text }: Failure): Page {
  const message = STATUS_CODES[status] ?? 'Error'
  const body = Buffer.from(`${status} ${message}\n\n${text}\n`)
  const fields: Field[] = [['Content-Type', 'text/plain; charset=utf-8'], ['Content-Length', String(body.length)], ['Cache-Control', 'no-store'], ['X-Content-Type-Options', 'nosniff']]
  if (status === 503) fields.push(['Retry-After', RETRY_AFTER_S])
  if (status === 405) fields.push(['Allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'])
  return { message, fields, body }
}

/** Of an `open` or `session` that rejected. */
export function failureOf(error: unknown, key: string): Failure {
  const code = isQuicbraidError(error) ? error.code : ''
  if (NOBODY.has(code)) return { status: 503, reason: 'no-connection', text: `The service ${show(key)} is not connected at present.` }
  if (code.endsWith('_TIMEOUT')) return { status: 504, reason: 'timeout', text: `The service ${show(key)} could not be reached in time.` }
  return { status: 502, reason: 'upstream', text: `The service ${show(key)} could not be reached.` }
}

/** A key as it may stand in text that anybody reads. */
export function show(key: string): string {
  return `"${key.replaceAll(/[^\w.:-]/g, '?').slice(0, 64)}"`
}
