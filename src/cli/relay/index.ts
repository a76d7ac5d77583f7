/** `quicbraid relay`. */
export { addRelay } from './command.ts'
