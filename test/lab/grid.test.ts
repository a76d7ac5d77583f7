/** The fixed list of networks, and certificates of the sizes that servers have. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { CERTIFICATES, derBytes, identityOf } from '../../src/lab/experiments/certificates.ts'
import { GRID_CLASSES, gridNetwork, NETWORKS, randomOf, spread } from '../../src/lab/experiments/grid.ts'
import { World } from '../../src/sim/index.ts'
import { BUILT } from '../native/built.ts'

const numbers = Array.from({ length: NETWORKS }, (_, index) => index + 1)

describe('the networks of the grids', () => {
  it('are the same for ever', () => {
    const fingerprints = Object.fromEntries(GRID_CLASSES.map((name) => [name, createHash('sha256').update(JSON.stringify(numbers.map((number) => gridNetwork(name, number)))).digest('hex').slice(0, 16)]))
    expect(fingerprints).toEqual({ low: '217a86a461d3d433', 'low-loss': '488d1f755a17c119', high: '54911045a51db4a8', 'high-loss': 'adf4976da255cdd4' })
  })

  it('stay in the ranges of their class, and carry a file within ten minutes', () => {
    for (const name of GRID_CLASSES) {
      const links = numbers.flatMap((number) => [...gridNetwork(name, number)])
      expect(links).toHaveLength(2 * NETWORKS)
      expect(Math.max(...links.map(({ delayMs = 0 }) => delayMs))).toBeLessThanOrEqual(name.startsWith('high') ? 200 : 25)
      expect(Math.max(...links.map(({ loss }) => (typeof loss === 'number' ? loss : 0)))).toBeLessThanOrEqual(name.endsWith('loss') ? 0.025 : 0)
      expect(Math.min(...numbers.map((number) => gridNetwork(name, number).reduce((sum, { rateBitsPerSec = 0 }) => sum + rateBitsPerSec, 0)))).toBeGreaterThan(1e6)
      expect(gridNetwork(name, NETWORKS + 1)).toEqual(gridNetwork(name, 1))
    }
  })

  it('are spread evenly: no two are as near as random ones would be', () => {
    const points = spread(randomOf(1), 6, NETWORKS)
    const random = randomOf(2)
    const drawn = Array.from({ length: NETWORKS }, () => Array.from({ length: 6 }, random))
    expect(points).toHaveLength(NETWORKS)
    expect(nearest(points)).toBeGreaterThan(3 * nearest(drawn))
  })
})

describe.skipIf(!BUILT)('a certificate of the laboratory', () => {
  it('has nearly the size of what it stands for', () => {
    const world = new World({ seed: 1 })
    const sizes = Object.fromEntries(CERTIFICATES.map((name) => [name, identityOf(world, name).cert.match(/-----BEGIN[^]*?END CERTIFICATE-----/g)?.map(derBytes)]))
    // Half of 10 to the power of 1.5: 16 bytes.
    const near = (bytes: number): unknown => expect.closeTo(bytes, -1.5)
    expect(sizes).toEqual({ ecdsa: [near(500)], 'rsa-2048': [near(1250)], 'chain-3': [near(1000), near(850), near(850)], large: [near(3000), near(2500), near(2500)] })
  })
})

function nearest(points: readonly number[][]): number {
  return Math.min(...points.flatMap((one, index) => points.slice(index + 1).map((other) => Math.hypot(...one.map((value, at) => value - (other[at] ?? 0))))))
}
