/**
 * The rows of a range, one after the other, in pages: for who goes through more than memory holds (checks, reclaim).
 *   - `key` is undefined at the end. Rows come from one page at a time; what commits meanwhile may or may not be among them.
 *   - advance() answers without a promise but where a page ends.
 */
import type { Key, KeyedRow, MaybePromise, Reader, Row } from './engine.js'

export interface RowStream {
  readonly key: Key | undefined
  readonly row: Row
  advance(): MaybePromise<void>
}

export async function streamRows(reader: Reader, from: Key, to: Key, pageRows = 1024): Promise<RowStream> {
  let page: readonly KeyedRow[] = []
  let at = 0
  let start = from
  const show = (): void => {
    stream.key = page[at]?.key
    if (at < page.length) stream.row = page[at].row
  }
  const took = (next: readonly KeyedRow[]): void => {
    page = next
    at = 0
    if (page.length > 0) start = `${page[page.length - 1].key}\u0000`
    show()
  }
  const stream = {
    key: undefined as Key | undefined,
    row: undefined as unknown as Row,
    advance(): MaybePromise<void> {
      if (++at < page.length || page.length < pageRows) return show()
      const next = reader.scan({ from: start, to, limit: pageRows })
      return next instanceof Promise ? next.then(took) : took(next)
    }
  }
  took(await reader.scan({ from, to, limit: pageRows }))
  return stream
}
