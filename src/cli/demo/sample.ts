/** The file that the demo sends when none is given: the same pseudo-random, incompressible bytes each time, made as fast as the disk takes them. */
import { createCipheriv } from 'node:crypto'
import { open } from 'node:fs/promises'

const PIECE_BYTES = 4 * 1024 * 1024

/** AES-128 in counter mode over zeros. @throws errors of the file system */
export async function writeSample(file: string, bytes: number): Promise<void> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 0x71), Buffer.alloc(16))
  const zeros = Buffer.alloc(PIECE_BYTES)
  const handle = await open(file, 'wx')
  try {
    for (let left = bytes; left > 0; left -= PIECE_BYTES) {
      await handle.appendFile(cipher.update(left < PIECE_BYTES ? zeros.subarray(0, left) : zeros))
    }
  } finally {
    await handle.close()
  }
}
