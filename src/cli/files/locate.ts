/**
 * Which file of a folder a request means, and that it is inside: no `..`, no encoded slashes, no symbolic link that leads out,
 * nothing but regular files. Never tells the peer which of these it was.
 */
import { constants } from 'node:fs'
import { open, realpath } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join, sep } from 'node:path'

/** O_NONBLOCK: a FIFO must not hold the server; O_NOFOLLOW: the last step cannot be swapped for a link. Windows has neither. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOFOLLOW ?? 0)

/** Path segments below the folder, or null if the request may not name anything in it. */
export function segmentsOf(requestPath: string): string[] | null {
  const path = requestPath.replace(/[?#].*$/s, '')
  if (!path.startsWith('/')) return null
  const segments: string[] = []
  for (const encoded of path.split('/')) {
    let segment: string
    try {
      segment = decodeURIComponent(encoded)
    } catch {
      return null
    }
    if (segment === '..' || /[/\\\0]/.test(segment)) return null
    if (segment !== '' && segment !== '.') segments.push(segment)
  }
  return segments.length === 0 ? null : segments
}

export interface LocatedFile {
  handle: FileHandle
  bytes: number
}

/** Opens the file, or null: not there, not inside, not a regular file, not readable. `root` is a real path. */
export async function openInside(root: string, requestPath: string): Promise<LocatedFile | null> {
  const segments = segmentsOf(requestPath)
  if (segments === null) return null
  try {
    const real = await realpath(join(root, ...segments))
    return isInside(root, real) ? await openFile(real) : null
  } catch {
    return null // answered like a file that is not there
  }
}

/** Opens a real path, if it is a regular file. @throws errors of the file system */
export async function openFile(real: string): Promise<LocatedFile | null> {
  const handle = await open(real, FLAGS)
  const facts = await handle.stat()
  if (facts.isFile()) return { handle, bytes: facts.size }
  await handle.close()
  return null
}

function isInside(root: string, real: string): boolean {
  return real.startsWith(root.endsWith(sep) ? root : root + sep)
}
