/**
 * TypeScript tests. Processes, not threads: a crash of the native module must not hide in a worker. One for each core (vitest leaves one
 * idle, which is half of a small machine), since tests mostly wait.
 */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/guard.ts'],
    pool: 'forks',
    maxWorkers: '100%',
    testTimeout: 10_000,
  },
})
