/** Self-signed certificates for development. */
import { guarded, loadNative } from '../binding/index.ts'
import type { NativeDevCertificate, NativeModule } from '../binding/index.ts'
import { checkDevCertificate } from '../config/index.ts'
import type { DevCertificate, DevCertificateOptions } from '../config/index.ts'

const NAMES = ['localhost', '127.0.0.1', '127.0.0.2', '::1']

/** For servers and clients; trust it by `ca: cert` or its pin. @throws QB_OPTION_INVALID QB_NATIVE_MISSING */
export function createDevCertificate(options: DevCertificateOptions = {}): DevCertificate {
  return devCertificateWith(loadNative(), options)
}

/** With a given native module, for tests. */
export function devCertificateWith(module: NativeModule, options: DevCertificateOptions): DevCertificate {
  const { names = NAMES, kind = 'p256', days = 14 } = checkDevCertificate(options, '')
  return JSON.parse(guarded(() => module.createDevCertificate(JSON.stringify({ names, kind, days })))) as NativeDevCertificate
}
