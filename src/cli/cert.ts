/** `quicbraid cert [NAME...]`: a development certificate and key as files. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { Option } from 'commander'
import type { Command } from 'commander'
import { createDevCertificate } from '../index.ts'
import { isoDate } from './clock.ts'
import { CommandError, Exit } from './exit.ts'
import { parsed, refuseOption } from './options.ts'
import { parseCount } from './parse.ts'
import type { Context } from './program.ts'

interface CertValues {
  output: string
  days: number
  kind: 'p256' | 'ed25519'
  force?: true
  ca?: true
  json?: true
}

export function addCert(program: Command, { terminal }: Context): void {
  program.command('cert')
    .description('make a certificate and key for development')
    .argument('[names...]', 'names and addresses it is for (localhost, 127.0.0.1, 127.0.0.2, ::1)')
    .option('-o, --output <dir>', 'folder of cert.pem and key.pem', '.')
    .option('--days <n>', 'how long it is valid', parsed((text) => parseCount(text, 1, 825)), 14)
    .addOption(new Option('--kind <kind>', 'kind of the key').choices(['p256', 'ed25519']).default('p256'))
    .option('--force', 'replace files that are there')
    .addOption(new Option('--ca').hideHelp())
    .option('--json', 'result as JSON on stdout')
    .action(async (names: string[], values: CertValues) => {
      refuseOption('--ca', values.ca)
      const made = createDevCertificate({ kind: values.kind, days: values.days, ...(names.length === 0 ? {} : { names }) })
      const files = { cert: join(values.output, 'cert.pem'), key: join(values.output, 'key.pem') }
      await mkdir(values.output, { recursive: true })
      await writeNew(files.key, made.key, 0o600, values.force === true)
      await writeNew(files.cert, made.cert, 0o644, values.force === true)
      const facts = new X509Certificate(made.cert)
      const inside = (facts.subjectAltName ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''))
      const notAfter = isoDate(facts.validTo)
      if (values.json === true) return terminal.json({ ok: true, ...files, ca: null, fingerprint: made.fingerprint, pin: made.pin, names: inside, notAfter })
      terminal.result(`certificate  ${files.cert}\nkey          ${files.key}\nfingerprint  ${made.fingerprint}\npin          ${made.pin}\nnames        ${inside.join(', ')}\nvalid until  ${notAfter}`)
      return undefined
    })
}

async function writeNew(file: string, text: string, mode: number, force: boolean): Promise<void> {
  try {
    await writeFile(file, text, { mode, flag: force ? 'w' : 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new CommandError('QB_FILE_EXISTS', Exit.LOCAL, `${file} exists; --force replaces it`)
    throw error
  }
}
