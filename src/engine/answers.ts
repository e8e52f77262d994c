/**
 * Results of requests, kept with their commits: a request that is resent, or taken over by the next daemon, is answered
 * from here and not run twice. The newest 4,096 are kept, in commit order.
 */
export const ANSWERS_LIMIT = 4096

export interface Answer {
  readonly session: number
  readonly requestId: string
  readonly result: Uint8Array
}

export interface Answers {
  add(session: number, requestId: string, result: Uint8Array): void
  find(session: number, requestId: string): Uint8Array | undefined
}

export function makeAnswers(): Answers {
  const kept = new Map<string, Uint8Array>()
  const nameOf = (session: number, requestId: string): string => `${session}:${requestId}`
  return {
    add(session, requestId, result) {
      const name = nameOf(session, requestId)
      kept.delete(name) // so that it becomes the newest
      kept.set(name, result)
      if (kept.size > ANSWERS_LIMIT) for (const oldest of kept.keys()) {
        kept.delete(oldest)
        break
      }
    },
    find: (session, requestId) => kept.get(nameOf(session, requestId))
  }
}
