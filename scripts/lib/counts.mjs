/** How many tests passed, failed and were skipped, read from what the runners say. Pure. */

export const NONE = { passed: 0, failed: 0, skipped: 0 }

/** One check that either holds or does not. */
export function oneCheck(code) {
  return code === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 }
}

/** A failure that the runner could not count (it did not compile, it crashed) counts as one. */
export function withCode(counts, code) {
  return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts
}

/** `cargo test`: a line for each test binary. */
export function cargoCounts(text) {
  return sum([...text.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm)].map(([, passed, failed, skipped]) => ({ passed: Number(passed), failed: Number(failed), skipped: Number(skipped) })))
}

/** The JSON reporter of vitest. A file that could not be loaded has no failed tests, and counts as one. */
export function vitestCounts(report) {
  const broken = (report.testResults ?? []).filter((file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')).length
  return { passed: report.numPassedTests, failed: report.numFailedTests + broken, skipped: report.numPendingTests + (report.numTodoTests ?? 0) }
}

/** `node --test` with its spec reporter: a line each, at the end. */
export function nodeTestCounts(text) {
  const count = (word) => Number(new RegExp(`^\\S+ ${word} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail') + count('cancelled'), skipped: count('skipped') }
}

/** The last line that is a JSON object with counts. */
export function summaryCounts(text) {
  for (const line of text.trimEnd().split('\n').reverse()) {
    if (!line.startsWith('{')) continue
    try {
      const { passed, failed, skipped } = JSON.parse(line)
      if (Number.isInteger(passed) && Number.isInteger(failed)) return { passed, failed, skipped: skipped ?? 0 }
    } catch {
      // Some other line.
    }
  }
  return NONE
}

export function sum(list) {
  return list.reduce((total, counts) => ({ passed: total.passed + counts.passed, failed: total.failed + counts.failed, skipped: total.skipped + counts.skipped }), NONE)
}

/** `12 passed, 0 failed`, and `, 3 skipped` if any were. */
export function countsLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}
