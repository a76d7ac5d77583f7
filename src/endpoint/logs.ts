/** The logs of an endpoint, key log and qlog: each goes where its option says, and is off without one. */
import type { EndpointOptions, Logger } from '../config/index.ts'
import { keylogSink } from './keylog.ts'
import type { KeylogSink } from './keylog.ts'
import { qlogSink } from './qlog.ts'
import type { QlogSink } from './qlog.ts'

export class EndpointLogs {
  readonly keys: KeylogSink
  readonly qlog: QlogSink

  constructor({ keylog, qlog, logger }: { keylog: EndpointOptions['keylog']; qlog: EndpointOptions['qlog']; logger: Logger }) {
    this.keys = keylogSink(keylog, logger)
    this.qlog = qlogSink(qlog, logger)
  }

  close(): void {
    this.keys.close()
    this.qlog.close()
  }
}
