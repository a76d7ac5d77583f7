export async function node() { throw new Error('not yet') }
