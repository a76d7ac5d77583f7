// The table over several paths: its cases, and what each is held against. Simulated and real time share it.

/** Mbit/s that noq 1.4.0 reached over the same links, 10 MB, queues of 100 ms. */
const noq = (value) => ({ peer: 'noq 1.4.0', value })
/** What we hold ourselves to. */
const goal = (value) => ({ peer: 'goal', value })
/** Another case of this table. */
const other = (name) => ({ peer: name, of: name })

const MODES = ['stagger', 'race', 'shared']

/** `worst`: the slowest seed counts, not the middle one. */
export const CASES = [
  { name: 'equal-0ms', metric: 'throughput', against: [noq(38.0), goal(38.0)] },
  { name: 'equal-20ms', metric: 'throughput', against: [noq(34.2), goal(36.5)] },
  { name: 'hetero-fast-first', metric: 'throughput', against: [noq(26.2), goal(27.5)] },
  { name: 'hetero-slow-first', metric: 'throughput', against: [noq(20.3), goal(27.5)] },
  { name: 'loss-1pct-cubic-single', metric: 'throughput', against: [noq(3.6)] },
  { name: 'loss-1pct-cubic', metric: 'throughput', against: [noq(6.5), other('loss-1pct-cubic-single')] },
  { name: 'loss-1pct-bbr', metric: 'throughput', against: [noq(6.5), goal(30)] },
  { name: 'path-silent', metric: 'stall', worst: true, against: [goal(300)] },
  { name: 'first-path-dead-single', metric: 'handshake', worst: true, against: [goal(1140)] },
  { name: 'first-path-dead-stagger', metric: 'handshake', worst: true, against: [goal(240)] },
  { name: 'first-path-dead-race', metric: 'handshake', worst: true, against: [goal(90)] },
  { name: 'first-path-dead-shared', metric: 'handshake', worst: true, against: [goal(90)] },
  { name: 'clean-handshake-single', metric: 'handshake', against: [] },
  ...MODES.map((mode) => ({ name: `clean-handshake-${mode}`, metric: 'handshake', against: [other('clean-handshake-single')] })),
]

/** `throughput` is in Mbit/s, times in ms. */
export const unitOf = (metric) => (metric === 'throughput' ? 'Mbit/s' : 'ms')

/** What the worst of many counts for, where it does. */
export const counted = ({ worst }, values) => (worst ? Array(values.length).fill(Math.max(...values)) : values)
