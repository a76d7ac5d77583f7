/** The command `quicbraid tunnel`. */
export { addTunnel } from './command.ts'
