/** What a policy answered, checked before anything of it is done: one wrong action, and nothing is. */
import { checkFamily, checkPathSpec, invalidOption } from '../../config/index.ts'
import type { PathAction } from './types.ts'

/** Actions of one decision that are carried out; a longer list is refused. */
export const MAX_ACTIONS = 32

const ACTIONS = "a list of at most 32 of { do: 'open', spec }, { do: 'abandon', path }, { do: 'status', path, status }"

/** `remote`: the connection's, for specs that name none. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkActions(answer: unknown, remote: string): PathAction[] {
  if (!Array.isArray(answer) || answer.length > MAX_ACTIONS) throw invalidOption('decide()', answer, ACTIONS)
  return answer.map((action: unknown, index) => checkAction(action, remote, `decide()[${index}]`))
}

function checkAction(value: unknown, remote: string, field: string): PathAction {
  const action = value as Partial<Record<'do' | 'path' | 'status' | 'spec', unknown>> | null
  const path = typeof action === 'object' && action !== null ? action.path : undefined
  const isPath = typeof path === 'number' && Number.isInteger(path) && path >= 0
  switch (action?.do) {
    case 'open': {
      const spec = checkPathSpec(action.spec, `${field}.spec`)
      checkFamily(spec, remote, `${field}.spec`)
      return { do: 'open', spec }
    }
    case 'abandon':
      if (isPath) return { do: 'abandon', path }
      break
    case 'status':
      if (isPath && (action.status === 'available' || action.status === 'backup')) return { do: 'status', path, status: action.status }
      break
    default:
  }
  throw invalidOption(field, value, ACTIONS)
}
