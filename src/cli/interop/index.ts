/** The endpoint of the quic-interop-runner. The door of this folder. */
export { addInterop } from './command.ts'
