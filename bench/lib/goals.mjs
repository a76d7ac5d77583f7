// What is asked of a row, and whether it is so.

/**
 * Adds `goal` and `verdict` to a row.
 *
 * @param goal bounds on the ratio (`ratioAtLeast`), which needs a peer's value, or on our value (`atLeast`, `atMost`); `asserted`: the run fails when it is missed
 */
export function withGoal(result, goal) {
  if (goal === undefined || (goal.ratioAtLeast !== undefined && result.row.ratio === null)) return result
  const { ratioAtLeast, atLeast, atMost, asserted = false } = goal
  const { ours, ratio, unit } = result.row
  const [met, words] =
    atMost !== undefined ? [ours <= atMost, `≤ ${atMost} ${unit}`]
    : atLeast !== undefined ? [ours >= atLeast, `≥ ${atLeast} ${unit}`]
    : [ratio >= ratioAtLeast, `≥ ${ratioAtLeast} ×`]
  return { ...result, row: { ...result.row, goal: words, verdict: met ? 'met' : 'missed' }, failed: asserted && !met }
}

/** One line for each asserted goal that was missed. */
export function failures(results) {
  return results.filter(({ failed }) => failed === true).map(({ row }) => `${row.case}: ${row.metric} is ${row.ours} ${row.unit}, and must be ${row.goal}`)
}
