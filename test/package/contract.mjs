/**
 * The published declarations against `docs/spec/api.md`: every name and member of the contract exists, the classes show nothing that the
 * contract does not have, and the contract's own examples compile. Called by `run.mjs`; needs `dist/`.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { ABSENT, EXTRA } from './absent.mjs'

const ROOT = join(import.meta.dirname, '../..')
const WORK = join(ROOT, '.tmp/contract')
/** Doors whose declarations are compared, and their files. */
const DOORS = { quicbraid: 'dist/index.d.mts', 'quicbraid/sim': 'dist/sim.d.mts', 'quicbraid/lab': 'dist/lab.d.mts', 'quicbraid/js-quic': 'dist/js-quic.d.mts', 'quicbraid/traversal': 'dist/traversal.d.mts', 'quicbraid/tunnel': 'dist/tunnel.d.mts', 'quicbraid/reverse': 'dist/reverse.d.mts' }
const OPTIONS = {
  target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')], strict: true, noEmit: true,
}

/** Sentences about what the declarations lack, have too much of, or are wrongly said to lack. Empty: they are the contract. */
export function compareDeclarations() {
  const spec = join(WORK, 'api.d.ts')
  const [declarations] = readFileSync(join(ROOT, 'docs/spec/api.md'), 'utf8').split('\n## 4.')
  fresh({ 'api.d.ts': [...declarations.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, block]) => block).join('\n') })
  const program = programOf([spec, ...Object.values(DOORS).map((file) => join(ROOT, file))], { ...OPTIONS, skipLibCheck: false })
  const checker = program.getTypeChecker()
  const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(join(ROOT, 'dist')))
  const wrong = ours.flatMap((file) => program.getSemanticDiagnostics(file).map(({ messageText }) => `${file.fileName}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`))
  const lacking = new Set()
  for (const [door, file] of Object.entries(DOORS)) {
    const promised = exportsOf(checker, checker.getAmbientModules().find(({ name }) => name === `"${door}"`))
    const published = exportsOf(checker, checker.getSymbolAtLocation(program.getSourceFile(join(ROOT, file))))
    if (promised.size === 0) wrong.push(`docs/spec/api.md declares no module ${door}`)
    for (const [name, symbol] of promised) {
      const found = published.get(name)
      if (found === undefined) {
        lacking.add(name)
        continue
      }
      const [theirs, ours] = [membersOf(checker, symbol), membersOf(checker, found)]
      for (const member of theirs) if (!ours.has(member)) lacking.add(`${name}.${member}`)
      // Only of classes: a plain object may have more than its interface tells. The façade has what js-quic has.
      if ((found.flags & ts.SymbolFlags.Class) === 0 || door === 'quicbraid/js-quic') continue
      for (const member of ours) if (!theirs.has(member) && !(`${name}.${member}` in EXTRA)) wrong.push(`${name}.${member} is published, the contract does not have it`)
    }
  }
  for (const name of lacking) if (!(name in ABSENT)) wrong.push(`${name} is in the contract, the published types lack it`)
  for (const name of Object.keys(ABSENT)) if (!lacking.has(name)) wrong.push(`${name} is published: take it from the list of what is absent`)
  return wrong
}

/** The examples of the contract that this version has the doors for, as `[name, errors]`. */
export function compileExamples() {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const doors = new Set(Object.keys(exports).map((door) => join('quicbraid', door)))
  const [, part] = readFileSync(join(ROOT, 'docs/spec/api.md'), 'utf8').split('\n## 5.')
  const blocks = [...part.matchAll(/```(?:js|ts)\n(\/\/ (\d\d-[\w-]+\.\w+)[\s\S]*?)```/g)].map(([, text, name]) => ({ name, text }))
  const usable = blocks.filter(({ text }) => [...text.matchAll(/from '(quicbraid[^']*)'/g)].every(([, door]) => doors.has(door)))
  fresh(Object.fromEntries(usable.map(({ name, text }) => [name, text])))
  const paths = Object.fromEntries([...doors].filter((door) => door !== 'quicbraid/package.json').map((door) => [door, [join(ROOT, exports[door === 'quicbraid' ? '.' : `./${door.slice('quicbraid/'.length)}`].import.types)]]))
  // The examples are JavaScript: strict about everything but the types of their own parameters.
  const program = programOf(usable.map(({ name }) => join(WORK, name)), { ...OPTIONS, allowJs: true, checkJs: true, noImplicitAny: false, skipLibCheck: true, paths })
  const errors = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line + 1
    return { file: file?.fileName, text: `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}` }
  })
  return { examples: usable.map(({ name }) => [name, errors.filter(({ file }) => file === undefined || file === join(WORK, name)).map(({ text }) => text)]), waiting: blocks.filter((block) => !usable.includes(block)).map(({ name }) => name) }
}

/** Of files and of what those need; the declarations of the language and of Node are read once. */
function programOf(files, options) {
  const host = ts.createCompilerHost(options)
  const read = host.getSourceFile.bind(host)
  host.getSourceFile = (name, ...rest) => {
    if (!name.includes('/node_modules/')) return read(name, ...rest)
    if (!READ.has(name)) READ.set(name, read(name, ...rest))
    return READ.get(name)
  }
  return ts.createProgram(files, options, host)
}

const READ = new Map()

function fresh(files) {
  rmSync(WORK, { recursive: true, force: true })
  mkdirSync(WORK, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(WORK, name), text)
}

function exportsOf(checker, module) {
  const resolved = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol)
  return new Map(module === undefined ? [] : checker.getExportsOfModule(module).map((symbol) => [symbol.name, resolved(symbol)]))
}

/** Names of the public members of a class, an interface or each part of a union; static ones as `static x`. */
function membersOf(checker, symbol) {
  const names = new Set()
  const isShown = ({ name, valueDeclaration }) => !/^(?:__|#)/.test(name) && (valueDeclaration === undefined || (ts.getCombinedModifierFlags(valueDeclaration) & ts.ModifierFlags.NonPublicAccessibilityModifier) === 0)
  const add = (type) => {
    if (type.isUnion()) type.types.forEach(add)
    else if (type.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection)) for (const member of checker.getPropertiesOfType(type)) if (isShown(member)) names.add(member.name)
  }
  const own = checker.getDeclaredTypeOfSymbol(symbol)
  // A type that is no record of ours (a list, a function) has members of the language.
  if (symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface) || own.isUnionOrIntersection() || symbol.flags & ts.SymbolFlags.TypeAlias) add(own)
  if (symbol.flags & ts.SymbolFlags.Class) for (const member of checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol))) if (member.name !== 'prototype' && isShown(member)) names.add(`static ${member.name}`)
  return names
}
