/** How `dist/` is made: ESM and CJS with types for both. The native module stays outside (`src/binding/load.ts`). */
import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: { index: 'src/index.ts' },
  format: ['esm', 'cjs'],
  outDir: 'dist',
  platform: 'node',
  target: 'node20.19',
  dts: true,
  shims: true,
  sourcemap: true,
  clean: true,
})
