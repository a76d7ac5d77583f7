/** What the contract has and this version does not, each with its reason; and what classes show beyond the contract. Both lists only shrink. */

/** Of `docs/spec/api.md`, a name and its reason. A name that is published must leave this list. */
export const ABSENT = {
}

/** Members of published classes that the contract does not have. */
export const EXTRA = {
}
