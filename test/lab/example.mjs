/** An experiment as a user writes it: a transfer over one link, with runs that fail in each way. */
import { defineExperiment } from '../../dist/lab.mjs'

export const experiment = defineExperiment({
  name: 'example',
  axes: { delayMs: [5, 20], loss: [0, 0.05], fails: ['no', 'throws', 'stray', 'stuck', 'dies'] },
  seeds: 2,
  quick: { axes: { fails: ['no'] }, seeds: 1 },
  columns: { ms: 'ms', lossy: 'share' },
  run: ({ delayMs, loss, fails }, world) => {
    const [client, server] = [world.host('client'), world.host('server')]
    world.link(client, server, { delayMs, loss, rateBitsPerSec: 20e6 })
    const tls = world.identity('server')
    return world.run(async () => {
      const far = await server.bind({ server: { ...tls, alpn: 'x' } })
      const near = await (await client.bind()).connect(far.local[0], { alpn: 'x', ca: tls.ca, serverName: 'server' })
      if (fails === 'throws') throw new RangeError('as asked')
      if (fails === 'stray') void Promise.reject(new Error('nobody waits for this'))
      if (fails === 'stuck') await new Promise(() => {})
      if (fails === 'dies') process.exit(3)
      const stream = await near.openUnidirectional()
      stream.write(new Uint8Array(20_000))
      stream.end()
      await stream.finished
      return { ms: world.nowMs, lossy: loss > 0 }
    })
  },
})
