/** The observable of the laboratory: `sweep$` [C]; each subscription is a sweep of its own, unsubscribing ends it. */
import { Observable } from 'rxjs'
import type { Row } from './experiment.ts'
import { checkSweep, sweep } from './sweep.ts'
import type { SweepOptions } from './sweep.ts'

/**
 * Rows that are in `out` already, in the order of the file, then new ones in the order they finish. An abort is the error, with the signal's
 * reason; the file keeps the rows so far. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN; error: QB_LAB_MODULE QB_LAB_WORKER QB_LAB_QUEUE QB_NATIVE_MISSING
 */
export function sweep$(options: SweepOptions): Observable<Row> {
  const checked = checkSweep(options)
  return new Observable<Row>((subscriber) => {
    const gone = new AbortController()
    const ended = checked.signal === undefined ? gone.signal : AbortSignal.any([gone.signal, checked.signal])
    sweep(checked, (row) => subscriber.next(row), ended).then(() => subscriber.complete(), (error: unknown) => subscriber.error(error))
    return () => gone.abort()
  })
}
