/**
 * Whether one program alone asks: then nobody else waits when the loop does what that program waits for in the tick.
 *   - Every front door names who asks with each request. Alone is who asked the last 16 times: whoever else asks, if only now and then,
 *     is noticed at its first request.
 *   - Of this thread, as the loop and its ring are.
 */
const ALONE_AFTER = 16 // requests

/** Who asks over NBD: a client has many requests under way. */
export const NBD_CLIENT = -1

let asker = 0
let inARow = 0

/** A request of `who`: a thread's number, or NBD_CLIENT. 0: nobody knows. */
export function asks(who: number): void {
  if (who === asker && who > 0) inARow++
  else {
    asker = who
    inARow = 1
  }
}

export const asksAlone = (): boolean => inARow >= ALONE_AFTER
