// Certificates in the runner's form: cert.pem (the chain, leaf first) and priv.key in a folder.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './peers.mjs'

/** A development certificate of our own. */
export async function certificate(folder) {
  const { createDevCertificate } = await import(join(ROOT, 'dist/index.mjs'))
  const { cert, key } = createDevCertificate()
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'cert.pem'), cert)
  writeFileSync(join(folder, 'priv.key'), key)
  return folder
}

/** A leaf below `length - 1` authorities and a root, RSA of 2048 bits: larger than three datagrams can be answered with. */
export function chain(folder, length) {
  mkdirSync(folder, { recursive: true })
  const file = (name) => join(folder, name)
  const openssl = (...words) => {
    const { status, stderr, error } = spawnSync('openssl', words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${words[0]}: ${error?.message ?? stderr}`)
  }
  writeFileSync(file('ca.ext'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n')
  writeFileSync(file('leaf.ext'), 'subjectAltName=DNS:localhost,DNS:server\n')
  openssl('req', '-x509', '-nodes', '-newkey', 'rsa:2048', '-days', '30', '-subj', '/O=interop root authority', '-keyout', file('0.key'), '-out', file('0.pem'))
  for (let index = 1; index <= length; index++) {
    const isLeaf = index === length
    openssl('req', '-new', '-nodes', '-newkey', 'rsa:2048', '-subj', isLeaf ? '/O=interop leaf' : `/O=interop intermediate authority ${index}`, '-keyout', file(`${index}.key`), '-out', file('request.pem'))
    openssl('x509', '-req', '-days', '30', '-in', file('request.pem'), '-CA', file(`${index - 1}.pem`), '-CAkey', file(`${index - 1}.key`), '-CAcreateserial', '-extfile', file(isLeaf ? 'leaf.ext' : 'ca.ext'), '-out', file(`${index}.pem`))
  }
  const order = Array.from({ length }, (_, index) => length - index)
  writeFileSync(file('cert.pem'), order.map((index) => readFileSync(file(`${index}.pem`), 'utf8')).join(''))
  writeFileSync(file('priv.key'), readFileSync(file(`${length}.key`)))
  return folder
}
