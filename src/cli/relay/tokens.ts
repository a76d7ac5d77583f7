/** The tokens of `relay --token-file`: a line each, empty lines and those that begin with `#` aside. Read anew for every registration, so that tokens come and go while the relay runs. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { usageError } from '../exit.ts'

export class TokenFile {
  readonly #file: string

  private constructor(file: string) {
    this.#file = file
  }

  /** @throws errors of the file system; a usage error if there is no token in it */
  static async open(file: string): Promise<TokenFile> {
    const tokens = new TokenFile(file)
    if ((await tokens.#read()).length === 0) throw usageError(`--token-file: ${file} has no token; write one a line`)
    return tokens
  }

  /** @throws errors of the file system */
  async has(token: Uint8Array | null): Promise<boolean> {
    if (token === null) return false
    const shown = digest(token)
    // All are compared: how long it takes says nothing.
    return (await this.#read()).map((known) => timingSafeEqual(digest(Buffer.from(known)), shown)).some(Boolean)
  }

  async #read(): Promise<string[]> {
    return (await readFile(this.#file, 'utf8')).split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
  }
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
