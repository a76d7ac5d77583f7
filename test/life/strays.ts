/** What a test makes the process emit on purpose: the listeners of others (`test/guard.ts`, vitest's own) are away while it does. */
type Stray = 'uncaughtException' | 'unhandledRejection' | 'warning'

/** Runs `act`, and a few turns and timers more; answers what was emitted meanwhile. */
export async function onPurpose(events: readonly Stray[], act: () => Promise<void>): Promise<Error[]> {
  const seen: Error[] = []
  const note = (error: Error): void => void seen.push(error)
  const before = events.map((event) => [event, process.listeners(event as 'warning')] as const)
  for (const event of events) process.removeAllListeners(event).on(event as 'warning', note)
  try {
    await act()
    // rxjs reports what a subscriber throws as an exception of its own, in a timer.
    await new Promise((resolve) => setTimeout(resolve, 50))
  } finally {
    for (const [event, listeners] of before) {
      process.removeAllListeners(event)
      for (const listener of listeners) process.on(event as 'warning', listener)
    }
  }
  return seen
}
