/**
 * What the library says of its options, in flags: who types a command has never heard of `limits.idleTimeoutMs`. Pure, and the same twice; called
 * where a failure is shown or told (`exit.ts`, events). Decides nothing and changes no code.
 */

/** Options of the library, and what people type for them. */
const FLAGS: ReadonlyMap<string, string> = new Map([
  ...['ca', 'cert', 'key', 'scheduler', 'congestion', 'handshake', 'multipath', 'qlog', 'keylog', 'service', 'pool', 'to'].map((name) => [name, `--${name}`] as const),
  ['pins', '--pin'], ['serverName', '--servername'], ['paths', '--path'], ['earlyData', '--early-data'], ['local', '--listen'],
  ['handshakeTimeoutMs', '--connect-timeout'], ['connectTimeoutMs', '--connect-timeout'], ['timeoutMs', '--connect-timeout'], ['idleTimeoutMs', '--idle-timeout'],
  ['pingMs', '--ping'], ['openTimeoutMs', '--wait'],
])

/** Whole phrases, where a name alone would not do. */
const PHRASES: readonly (readonly [said: RegExp, shown: string])[] = [
  [/ \(invalid peer certificate: Other\(OtherError\(PinMismatch\)\)\)/, ' (its key has another pin)'],
  [/(refused here: name .*); pass `ca` or `pins` that fit it$/, '$1; --servername says which name it has to have, --pin trusts its key whatever the name'],
  [/; `alpn` of both sides must share a name/, '; is it a server for this, and is this its port?'],
  // What has a keep-alive here has it always.
  [/limits\.keepAliveMs keeps a quiet connection, /, ''],
  [/; see the option versions$/, ''],
  [/^(cert|key) \d+: (.*); give a PEM or DER certificate chain and the key that belongs to it$/, '--$1: $2'],
  [/multipath: '(\w+)'/, '--multipath $1'],
]

/** A message of the library as the command line says it. */
export function inFlags(message: string): string {
  let text = message
  for (const [said, shown] of PHRASES) text = text.replace(said, shown)
  return text
    .replace(/^([\w.]+(?:\[\d+\])?)(?=: )/, (all: string, field: string) => flagOf(field) ?? all)
    .replaceAll(/\boption ([\w.[\]]+)(?= is )/g, (all: string, field: string) => flagOf(field) ?? all)
    .replaceAll(/`([\w.]+)`/g, (all: string, field: string) => flagOf(field) ?? all)
    .replaceAll(/\b(?:limits|tls)\.\w+/g, (field) => flagOf(field) ?? field)
    .replaceAll(/\((connectTimeoutMs|timeoutMs)\)/g, '(--connect-timeout)')
}

/** Of `connection.paths[0].local`: the outermost name that has a flag. */
function flagOf(field: string): string | undefined {
  return field.split('.').map((part) => FLAGS.get(part.replace(/\[\d*\]$/, ''))).find((flag) => flag !== undefined)
}
