/** JSON as the contract has it: a bigint is a number below 2^53, else a decimal string; an error is its words and code. One line. */

export function toJson(value: object): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === 'bigint') return item <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(item) : String(item)
    // Errors of ours have a form of their own and do not come here.
    if (item instanceof Error) return { ...('code' in item ? { code: item.code } : {}), message: item.message }
    return item
  })
}
