/**
 * Finds and loads the native module: the one that was built here, else the optional package of this platform.
 * Called once a process and copy of the package, by the first `bind` or `createDevCertificate`. Caches nothing but the module.
 */
import { createRequire } from 'node:module'
import { EndpointError } from '../errors/index.ts'
import { CONTRACT } from './native.ts'
import type { NativeModule } from './native.ts'

const BINARY = 'quicbraid'
/** The build's own place, seen from `src/binding/` and from `dist/`; and `dist/` itself, where a tarball of a checkout carries it. */
const PLACES = import.meta.url.endsWith('/src/binding/load.ts') ? ['../../native/binding'] : ['../native/binding', '.']

let loaded: NativeModule | null = null

/** @throws QB_NATIVE_MISSING naming the platform, what to install and what the loader said */
export function loadNative(): NativeModule {
  loaded ??= load()
  return loaded
}

function load(): NativeModule {
  const requireHere = createRequire(import.meta.url)
  const platform = platformName()
  const wanted = [...PLACES.map((place) => `${place}/${BINARY}.${platform}.node`), `${BINARY}-${platform}`]
  const failures: string[] = []
  for (const name of wanted) {
    try {
      const module = requireHere(name) as NativeModule
      const contract = module.contract()
      if (contract === CONTRACT) return module
      failures.push(`${name}: contract ${contract}, this package needs ${CONTRACT}`)
    } catch (error) {
      if (!isAbsent(error, name)) failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const said = failures.length === 0 ? 'it is not installed' : failures.join('; ')
  throw new EndpointError('QB_NATIVE_MISSING', `no native module for ${platform}: ${said}; install the package ${BINARY}-${platform} of the same version, or build it with npm run build:native`)
}

function isAbsent(error: unknown, name: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' && error.message.includes(name)
}

/** As @napi-rs/cli names them: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`. */
export function platformName(): string {
  const { platform, arch } = process
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`
  if (platform === 'win32') return `win32-${arch}-msvc`
  return `${platform}-${arch}`
}

/** glibc tells its version in the diagnostic report; musl has none to tell. */
function isMusl(): boolean {
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined
  if (report === undefined) return false
  const before = report.excludeNetwork
  report.excludeNetwork = true // else it resolves names of every interface
  const facts = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  report.excludeNetwork = before ?? false
  return facts.header?.glibcVersionRuntime === undefined
}
