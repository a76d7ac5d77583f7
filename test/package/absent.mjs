/** What the contract has and this version does not, each with its reason; and what classes show beyond the contract. Both lists only shrink. */

/** Of `docs/spec/api.md`. A name that is published must leave this list. */
export const ABSENT = {
  ...because('no NAT traversal yet', 'Connection.traversal'),
}

/** Members of published classes that the contract does not have. */
export const EXTRA = {
}

function because(reason, ...names) {
  return Object.fromEntries(names.map((name) => [name, reason]))
}
