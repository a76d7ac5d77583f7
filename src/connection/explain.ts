/** Why nothing (or this) happens now, as lines and facts. */
import type { NativeExplanation } from '../binding/index.ts'
import type { Explanation } from './facts.ts'

/** The engine's answer, readable as prose. */
export function explanation(answer: NativeExplanation): Explanation {
  return { ...answer, toString: () => answer.lines.join('\n') }
}

/** Of a connection that has ended. */
export function endedExplanation(message: string): Explanation {
  return explanation({ lines: [message], paths: [] })
}
