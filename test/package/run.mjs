/**
 * The package as people get it: packed, installed into an empty project, used from ES modules, CommonJS and strict TypeScript; its
 * declarations; what publint and arethetypeswrong say. `node test/package/run.mjs [WORD…]` runs the checks whose names have a word.
 * Needs a build. The last line is the counts, as JSON.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { bytesOf, platforms, readJson, stage } from '../../scripts/lib/stage.mjs'
import { packed } from '../../scripts/lib/tarball.mjs'
import { compareDeclarations, compileExamples } from './contract.mjs'
import { packDependencies, project, runIn } from './project.mjs'

const ROOT = join(import.meta.dirname, '../..')
const WORK = join(ROOT, '.tmp/package-test')
const ANSWER = 'over quic native QB_ENDPOINT_CLOSED function'
/** What runs the programs; `scripts/node-versions.mjs` sets others. */
const RUNTIME = process.env.QUICBRAID_RUNTIME ?? process.execPath
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
const STRICT = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--noImplicitOverride', '--skipLibCheck', '--lib', 'es2023,esnext.disposable', '--types', 'node', '--target', 'es2022']
/** A module of 23 MB came out of a forgotten `strip` once. With room for growth: it has 2.5 MiB packed, 5.1 installed. */
const MODULE_LIMIT = { packedBytes: 3 * 2 ** 20, bytes: 7 * 2 ** 20 }
/** It has 1.8 MiB packed, 6.6 installed since there are reverse connections and the commands over them; two thirds are source maps. */
const MAIN_LIMIT = { packedBytes: 2.3 * 2 ** 20, bytes: 8.5 * 2 ** 20 }

const equal = (found, wanted, what) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`)
}
const empty = (list, what) => equal(list, [], what)
const works = ({ code, text }) => {
  if (code !== 0) throw new Error(`exit code ${code}: ${text}`)
  return text.trim()
}

/** In this order; each may use what those before have made. */
const CHECKS = {
  'the platform packages are those that @napi-rs/cli makes of napi.targets': async ({ scratch }) => {
    const folder = scratch('npm-dirs')
    const manifest = join(folder, 'package.json')
    writeFileSync(manifest, readFileSync(join(ROOT, 'package.json')))
    works(await runIn(folder, process.execPath, [join(ROOT, 'node_modules/@napi-rs/cli/dist/cli.js'), 'create-npm-dirs', '--package-json-path', 'package.json']))
    equal(platforms().length, readJson(manifest).napi.targets.length, 'number of platforms')
    for (const { platform, manifest: ours } of platforms()) equal(ours, readJson(join(folder, 'npm', platform, 'package.json')), `npm/${platform}/package.json (npm run npm-dirs makes it)`)
  },
  'the main package names every platform in its own version and has no native module': ({ main, staged }) => {
    const { version } = readJson(join(ROOT, 'package.json'))
    equal(main.manifest.optionalDependencies, Object.fromEntries(platforms().map(({ manifest }) => [manifest.name, version])), 'optionalDependencies')
    empty(['scripts', 'devDependencies', 'napi'].filter((key) => key in main.manifest), 'fields that nobody needs')
    empty(main.files.filter((path) => path.endsWith('.node')), 'native modules')
    empty(['dist/index.mjs', 'dist/index.cjs', 'dist/index.d.mts', 'dist/index.d.cts', 'dist/cli.mjs', 'LICENSE', 'NOTICE', 'README.md'].filter((path) => !main.files.includes(path)), 'files that are missing')
    empty(main.files.filter((path) => !/^(?:dist\/|LICENSE$|NOTICE$|README\.md$|package\.json$)/.test(path)), 'files that nobody needs')
    if (staged.length < 2) throw new Error('no package with a native module: npm run build:native')
  },
  'what exports, main, types and bin name is in the tarball': ({ main }) => {
    const named = (value) => (typeof value === 'string' ? [value] : Object.values(value ?? {}).flatMap(named))
    const { exports, main: entry, module, types, bin } = main.manifest
    empty([exports, entry, module, types, bin].flatMap(named).map((path) => path.replace('./', '')).filter((path) => !main.files.includes(path)), 'files that are named and missing')
  },
  'a native module is stripped, and both packages stay small': ({ sizes }) => {
    for (const { name, stripped, packedBytes, bytes } of sizes) {
      const limit = stripped === null ? MAIN_LIMIT : MODULE_LIMIT
      process.stdout.write(`     ${name}: ${(packedBytes / 2 ** 20).toFixed(2)} MiB packed, ${(bytes / 2 ** 20).toFixed(2)} MiB installed\n`)
      if (packedBytes > limit.packedBytes || bytes > limit.bytes) throw new Error(`${name} has ${packedBytes} bytes packed and ${bytes} installed; at most ${JSON.stringify(limit)}`)
    }
  },
  'publint finds nothing': async ({ staged }) => {
    for (const { folder, stripped } of staged) {
      // A package of one `.node` file needs no `type`, which it suggests.
      const { messages } = await publint({ pkgDir: folder, strict: true, pack: false, level: stripped === null ? 'suggestion' : 'warning' })
      empty(messages.map((message) => formatMessage(message, readJson(join(folder, 'package.json')), { color: false })), folder)
    }
  },
  'arethetypeswrong finds nothing': async ({ main }) => {
    const { types, problems } = await checkPackage(createPackageFromTarballData(new Uint8Array(readFileSync(main.tarball))))
    if (types === false) throw new Error('it finds no types')
    // Node 10's resolution knows no `exports`; only the first door has `main` for it.
    empty(problems.filter(({ resolutionKind }) => resolutionKind !== 'node10'), 'problems')
    empty(problems.filter(({ resolutionKind, entrypoint }) => resolutionKind === 'node10' && entrypoint === '.'), 'problems of the first door')
  },
  'it installs into an empty project': async (it) => {
    it.home = await project(it.tarballs)
    for (const program of ['esm.mjs', 'cjs.cjs']) it.home.take(program)
  },
  'an ES module shakes hands over loopback': async ({ home }) => equal(works(await home.run(RUNTIME, ['esm.mjs'])), ANSWER, 'output'),
  'a CommonJS program shakes hands over loopback': async ({ home }) => equal(works(await home.run(RUNTIME, ['cjs.cjs'])), ANSWER, 'output'),
  'strict TypeScript compiles against it in every module system and shakes hands': async ({ home }) => {
    home.takeTypes()
    for (const name of ['main.mts', 'main.cts']) home.take('strict.ts', name)
    works(await home.run(process.execPath, [TSC, ...STRICT, '--module', 'node20', '--outDir', 'out', 'main.mts', 'main.cts']))
    works(await home.run(process.execPath, [TSC, ...STRICT, '--module', 'esnext', '--moduleResolution', 'bundler', '--noEmit', 'main.mts']))
    for (const name of ['out/main.mjs', 'out/main.cjs']) equal(works(await home.run(RUNTIME, [name])), ANSWER, name)
  },
  'its command runs': async ({ home, main }) => equal(works(await home.run(RUNTIME, ['node_modules/quicbraid/dist/cli.mjs', '--version'])), main.manifest.version, 'version'),
  'without the package of the platform it says which one is missing': async (it) => {
    rmSync(join(it.home.folder, 'node_modules', it.platform), { recursive: true })
    const { code, text } = await it.home.run(RUNTIME, ['esm.mjs'])
    if (code === 0 || !text.includes('QB_NATIVE_MISSING') || !text.includes(it.platform)) throw new Error(`exit code ${code}: ${text}`)
  },
  'npm pack of the checkout makes one tarball that works on this machine': async (it) => {
    const tarball = await packed(ROOT, it.scratch('checkout'), { scripts: true })
    empty(platforms().map(({ manifest }) => join(ROOT, 'dist', manifest.main)).filter((path) => existsSync(path)), 'what packing left in dist')
    if (bytesOf(tarball) > MODULE_LIMIT.packedBytes + MAIN_LIMIT.packedBytes) throw new Error(`it has ${bytesOf(tarball)} bytes`)
    await it.home.install([tarball])
    equal(works(await it.home.run(RUNTIME, ['esm.mjs'])), ANSWER, 'output')
  },
  'the published types are the contract': () => empty(compareDeclarations(), 'differences'),
  'the contract\'s own examples compile against the published types': () => {
    const { examples, waiting } = compileExamples()
    process.stdout.write(`     ${examples.length} examples; ${waiting.join(', ') || 'none'} need doors that are not there\n`)
    if (examples.length < 8) throw new Error(`only ${examples.length} examples`)
    empty(examples.filter(([, errors]) => errors.length > 0), 'errors')
  },
}

/** What the checks look at. */
async function prepare() {
  if (!existsSync(join(ROOT, 'dist/index.mjs'))) throw new Error('nothing is built: npm run build')
  rmSync(WORK, { recursive: true, force: true })
  const scratch = (name) => {
    const folder = join(WORK, name)
    mkdirSync(folder, { recursive: true })
    return folder
  }
  const staged = stage(join(WORK, 'stage'))
  const sizes = []
  const tarballs = []
  for (const { name, folder, stripped } of staged) {
    const tarball = await packed(folder, scratch('tarballs'))
    tarballs.push(tarball)
    sizes.push({ name, stripped, bytes: bytesOf(folder), packedBytes: bytesOf(tarball) })
  }
  const inside = createPackageFromTarballData(new Uint8Array(readFileSync(tarballs.at(-1))))
  const prefix = `/node_modules/${inside.packageName}/`
  const main = { tarball: tarballs.at(-1), manifest: JSON.parse(inside.readFile(`${prefix}package.json`)), files: inside.listFiles().map((path) => path.replace(prefix, '')) }
  const dependencies = packDependencies(scratch('dependencies'))
  return { scratch, staged, sizes, main, tarballs: [...dependencies, ...tarballs], platform: staged[0].name, home: undefined }
}

const words = process.argv.slice(2)
const counts = { passed: 0, failed: 0, skipped: 0 }
const it = await prepare()
for (const [name, check] of Object.entries(CHECKS)) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue
  const started = performance.now()
  try {
    await check(it)
    counts.passed += 1
    process.stdout.write(`ok   ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)\n`)
  } catch (error) {
    counts.failed += 1
    process.stdout.write(`FAIL ${name}\n     ${error.message.replaceAll('\n', '\n     ')}\n`)
  }
}
it.home?.remove()
rmSync(WORK, { recursive: true, force: true })
process.stdout.write(`${JSON.stringify(counts)}\n`)
process.exitCode = counts.failed === 0 ? 0 : 1
