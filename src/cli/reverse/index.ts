/** `quicbraid reverse`. */
export { addReverse } from './command.ts'
