/** Names of servers as people type them. */
const STUN_PORT = 3478

/** `HOST[:PORT]`, `[::1]`, `[::1]:3478`, `::1` with a port. */
export function withPort(name: string, port: number = STUN_PORT): string {
  if (/^\[[^\]]*\]$/.test(name)) return `${name}:${port}`
  const colons = name.split(':').length - 1
  return colons === 0 ? `${name}:${port}` : colons === 1 || name.startsWith('[') ? name : `[${name}]:${port}`
}
