// Medians, spreads and the rows made of them.

/** `{ median, min, max }` of some numbers. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { median, min: sorted[0], max: sorted.at(-1) }
}

/** Four significant digits: what is beyond is noise. */
export const digits = (value) => Number(value.toPrecision(4))

/**
 * One row whose peer has no value.
 *
 * @param why what became of it, in words; the row's `note`
 */
export function lostRow(bench, { name, metric, unit, peer }, ours, why) {
  const mine = spread(ours)
  return {
    row: { bench, case: name, metric, unit, ours: digits(mine.median), peer, peerValue: null, ratio: null, rounds: ours.length, note: why },
    ours: mine,
    peer: null,
  }
}

/**
 * One row: ours against one peer, medians of the rounds.
 *
 * @returns the row with the spreads of both sides beside it.
 */
export function row(bench, { name, metric, unit, peer }, ours, peers) {
  const [mine, theirs] = [spread(ours), spread(peers)]
  return {
    row: {
      bench,
      case: name,
      metric,
      unit,
      ours: digits(mine.median),
      peer,
      peerValue: digits(theirs.median),
      ratio: digits(mine.median / theirs.median),
      rounds: ours.length,
    },
    ours: mine,
    peer: theirs,
  }
}
