export { parseMetricsAddress } from './address.ts'
export type { MetricsAddress } from './address.ts'
export { MetricsServer } from './server.ts'
