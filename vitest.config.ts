/**
 * TypeScript tests. Processes, not threads: a crash of the native module must not hide in a worker. Three for two cores, since many tests wait for
 * time or for other processes (vitest would leave a core idle, which is half of a small machine).
 */
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/guard.ts'],
    pool: 'forks',
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    testTimeout: 10_000,
  },
})
