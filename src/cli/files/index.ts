/** Files over `hq-interop`: asking, answering, finding, fetching. The door of this folder. */
export { download, fileTarget, outputTarget } from './download.ts'
export type { Download, Downloaded, Target } from './download.ts'
export { FileServer } from './file-server.ts'
export type { RequestReport } from './file-server.ts'
export { openFile, openInside, segmentsOf } from './locate.ts'
export { HQ_ALPN, NOT_FOUND, FORBIDDEN, readRequest, writeRequest } from './request.ts'
export { StallClock } from './stall.ts'
