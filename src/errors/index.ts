/** Errors: classes, codes, and how to tell one of ours. */
export { ConnectionError, EndpointError, OptionError, PathError, QuicbraidError, ServiceError, StreamError, codeToJson, isQuicbraidError } from './error.ts'
export type { ErrorCode, ErrorFacts } from './error.ts'
