/** Path policies: what they are, and the one that a connection runs. */
import type { PathOwner } from '../owner.ts'
import { policyNamed } from './built-in.ts'
import { PolicyRunner } from './runner.ts'
import type { PolicyHost } from './runner.ts'

export type { PolicyRunner } from './runner.ts'
export type { InterfaceAddress, PathAction, PathPolicy, PathPolicyName, PathPolicyView } from './types.ts'

/** The runner that the options ask for; null at servers and for `manual`. */
export function createRunner(owner: PathOwner, set: Pick<PolicyHost, 'paths' | 'open'>): PolicyRunner | null {
  const { policy } = owner
  const chosen = typeof policy === 'string' ? policyNamed(policy) : policy
  if (chosen === null || owner.role === 'server') return null
  return new PolicyRunner(chosen, {
    ...set, clock: owner.surroundings.clock, interfaces: owner.surroundings.interfaces, maxPaths: owner.maxPaths, logger: owner.logger,
    bindsDevices: owner.features.has('interface'),
    nowMs: () => owner.engine.now(),
    remotes: () => [...new Set([owner.remote(), ...owner.remotes])],
    failed: (error) => owner.callbackFailed('pathPolicy', error),
  }, typeof policy === 'string' ? 'ours' : "the user's")
}
