/** Which service a host name of a visitor means: what `--sni-map` says, or else the services that there are. Pure. */
import type { NameMapping } from './parse.ts'

export class Routes {
  readonly #names: ReadonlyMap<string, string>
  readonly #services = new Set<string>()
  readonly #apart: ReadonlySet<string>

  /** `services`: known from the start; those that come are added. `apart`: those with ports of their own, which strangers must not reach by a name that they made up. */
  constructor(names: readonly NameMapping[], services: readonly string[], apart: readonly string[] = []) {
    this.#names = new Map(names.map(({ name, service }) => [name, service]))
    this.#apart = new Set(apart)
    for (const service of services) this.knows(service)
  }

  /** A private end has come with it. */
  knows(service: string): void {
    if (!this.#apart.has(service)) this.#services.add(service)
  }

  /** `www.example.net`, `www.example.net:8080`. Undefined: no service has this name. */
  serviceOf(host: string | null | undefined): string | undefined {
    const name = plainName(host ?? '')
    return this.#names.size > 0 ? this.#mapped(name) : this.#guessed(name)
  }

  /** The name itself, then the wildcard of its domain, then `*`. */
  #mapped(name: string): string | undefined {
    const dot = name.indexOf('.')
    return this.#names.get(name) ?? (dot > 0 ? this.#names.get(`*${name.slice(dot)}`) : undefined) ?? this.#names.get('*')
  }

  /** A service of that name, or of its first label; where there is one service only, that. */
  #guessed(name: string): string | undefined {
    const [label = ''] = name.split('.')
    for (const wanted of [name, label]) if (this.#services.has(wanted)) return wanted
    const [only] = this.#services
    return this.#services.size === 1 ? only : undefined
  }
}

function plainName(host: string): string {
  return host.trim().toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
}
