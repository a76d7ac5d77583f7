/** TypeScript tests. Processes, not threads: a crash of the native module must not hide in a worker. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/guard.ts'],
    pool: 'forks',
    testTimeout: 10_000,
  },
})
