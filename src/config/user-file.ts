/**
 * Imports a file of the user's: an experiment, a scheduler. TypeScript files run where the runtime strips types by itself, else through the
 * `typescript` package of the file's project (types are stripped, not checked). Called by the laboratory and the command line.
 */
import { createRequire, register } from 'node:module'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

class TypeScriptMissing extends Error {}

/** What a file exports. `file`: a path, or a file URL. Rejects with words that name the file, and the line if it is known. */
export async function importFile(file: string): Promise<Readonly<Record<string, unknown>>> {
  const url = file.startsWith('file:') ? new URL(file) : pathToFileURL(resolve(file))
  try {
    if (/^\.[cm]?ts$/.test(extname(url.pathname))) allowTypeScript(url)
    return (await import(url.href)) as Record<string, unknown>
  } catch (error) {
    if (error instanceof TypeScriptMissing) throw error
    throw new Error(`${file} cannot be loaded: ${wordsOf(error, url)}`, { cause: error })
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

/** @throws where neither the runtime nor a package can */
function allowTypeScript(file: URL): void {
  if (allowed || (process.features as { typescript?: unknown }).typescript) return
  const typescript = findTypeScript([file, pathToFileURL(`${process.cwd()}/`), import.meta.url])
  if (typescript === null) {
    throw new TypeScriptMissing(`${file.pathname} is TypeScript, which Node ${process.versions.node} does not run by itself: install typescript beside it, use Node 22.18 or newer, or give a .mjs file`)
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
