/**
 * Finds an experiment: one of ours by its name (`builtin:handshake`), or a file that exports `experiment`. TypeScript files run where the
 * runtime strips types by itself, else through the `typescript` package of the file's project (types are stripped, not checked).
 */
import { createRequire, register } from 'node:module'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ServiceError } from '../errors/index.ts'
import { factsOf } from './experiment.ts'
import type { Experiment } from './experiment.ts'
import { BUILT_IN, builtIn } from './experiments/index.ts'

export const BUILT_IN_PREFIX = 'builtin:'

/** @throws QB_LAB_MODULE naming the file, and the line if it is known */
export async function loadExperiment(module: string): Promise<Experiment> {
  const name = module.startsWith(BUILT_IN_PREFIX) ? module.slice(BUILT_IN_PREFIX.length) : null
  const experiment: unknown = name === null ? await fromFile(module) : builtIn(name)
  if (experiment === undefined) throw new ServiceError('QB_LAB_MODULE', name === null ? `${module} exports no \`experiment\`; write: export const experiment = defineExperiment({ … })` : `there is no experiment ${name} among ${BUILT_IN.join(', ')}`)
  try {
    factsOf(experiment)
  } catch (error) {
    throw new ServiceError('QB_LAB_MODULE', `${module}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  return experiment as Experiment
}

async function fromFile(module: string): Promise<unknown> {
  const url = module.startsWith('file:') ? new URL(module) : pathToFileURL(resolve(module))
  if (/^\.[cm]?ts$/.test(extname(url.pathname))) allowTypeScript(url)
  try {
    return ((await import(url.href)) as { experiment?: unknown }).experiment
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'QB_LAB_MODULE') throw error
    throw new ServiceError('QB_LAB_MODULE', `${module} cannot be loaded: ${wordsOf(error, url)}`, { cause: error })
  }
}

/** The message and, where the stack names a place in the file, that place. */
function wordsOf(error: unknown, url: URL): string {
  if (!(error instanceof Error)) return String(error)
  const stack = error.stack ?? ''
  const at = stack.indexOf(url.pathname)
  const line = at < 0 ? null : /^:(\d+)/.exec(stack.slice(at + url.pathname.length))?.[1]
  return line === null || line === undefined ? error.message : `${error.message} (line ${line})`
}

let allowed = false

/** @throws QB_LAB_MODULE where neither the runtime nor a package can */
function allowTypeScript(file: URL): void {
  if (allowed || (process.features as { typescript?: unknown }).typescript) return
  const typescript = findTypeScript([file, pathToFileURL(`${process.cwd()}/`), import.meta.url])
  if (typescript === null) {
    throw new ServiceError('QB_LAB_MODULE', `${file.pathname} is TypeScript, which Node ${process.versions.node} does not run by itself: install typescript beside it, use Node 22.18 or newer, or give a .mjs file`)
  }
  register(`data:text/javascript,${encodeURIComponent(HOOK)}`, { data: { typescript } })
  allowed = true
}

function findTypeScript(places: readonly (URL | string)[]): string | null {
  for (const place of places) {
    try {
      return createRequire(place).resolve('typescript')
    } catch {
      // The next place.
    }
  }
  return null
}

/** Runs on Node's loader thread, so it has nothing of this module. */
const HOOK = `
import { createRequire } from 'node:module'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
let ts = null
let at = ''
export function initialize(data) { at = data.typescript }
export async function load(url, context, next) {
  if (!url.startsWith('file:') || !/\\.m?ts$/.test(new URL(url).pathname)) return next(url, context)
  ts ??= createRequire(at)(at)
  const fileName = fileURLToPath(url)
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true, inlineSourceMap: true }
  const { outputText, diagnostics } = ts.transpileModule(await readFile(fileName, 'utf8'), { fileName, compilerOptions, reportDiagnostics: true })
  const first = (diagnostics ?? [])[0]
  if (first !== undefined) {
    const line = first.file === undefined || first.start === undefined ? '' : ' (line ' + (first.file.getLineAndCharacterOfPosition(first.start).line + 1) + ')'
    throw new SyntaxError(ts.flattenDiagnosticMessageText(first.messageText, '; ') + line)
  }
  return { format: 'module', source: outputText, shortCircuit: true }
}
`
