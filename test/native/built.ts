/** The built package and its native module, for tests that need both. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const modules = readdirSync(join(ROOT, 'native/binding')).filter((name) => name.endsWith('.node'))

export const PACKAGE = join(ROOT, 'dist/index.mjs')
export const MODULE = join(ROOT, 'native/binding', modules[0] ?? 'none')
/** Both have been built; else the tests are skipped. */
export const BUILT = existsSync(PACKAGE) && modules.length > 0
/** The native module has been built, for tests that take the sources. */
export const MODULE_BUILT = modules.length > 0
