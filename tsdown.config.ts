/** How `dist/` is made: ESM and CJS with types for both, and the command line. The native module stays outside (`src/binding/load.ts`). */
import { defineConfig } from 'tsdown'

const shared = {
  outDir: 'dist',
  platform: 'node',
  target: 'node20.19',
  shims: true,
  sourcemap: true,
} as const

export default defineConfig([
  { ...shared, entry: { index: 'src/index.ts', sim: 'src/sim/index.ts', lab: 'src/lab/index.ts', 'js-quic': 'src/js-quic/index.ts', traversal: 'src/traversal/index.ts', tunnel: 'src/tunnel/index.ts', reverse: 'src/reverse/index.ts', 'lab-worker': 'src/lab/worker.ts', 'nat-lab': 'src/lab/real/index.ts', 'nat-lab-peer': 'src/lab/real/peer.ts', cli: 'src/cli/main.ts' }, format: 'esm', dts: true, clean: true },
  { ...shared, entry: { index: 'src/index.ts', sim: 'src/sim/index.ts', lab: 'src/lab/index.ts', 'js-quic': 'src/js-quic/index.ts', traversal: 'src/traversal/index.ts', tunnel: 'src/tunnel/index.ts', reverse: 'src/reverse/index.ts' }, format: 'cjs', dts: true, clean: false },
])
