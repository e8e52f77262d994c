/**
 * The model of a shared metadata database: what several `memory` engines (several daemons) talk to.
 *   - apply() is atomic and validates as a database would: versions, guards, deltas, in one step.
 *   - Each commit id (session, request or number) is applied at most once; the newest 4,096 results are kept.
 *   - What is committed is durable: it outlives the engines that use it, as long as the server object lives.
 */
import type { Key, KeyedRow, Range } from '../engine.js'
import { makeGate } from '../runner.js'
import type { Gate } from '../runner.js'
import { makeRows, mergeScan } from '../rows.js'
import type { Entry } from '../rows.js'
import type { TxRun } from '../transaction.js'
import { ANSWERS_LIMIT, makeAnswers } from '../answers.js'
import type { Answers } from '../answers.js'
import type { ChangeEvent } from '../engine.js'

export interface MemoryServer {
  readonly gate: Gate
  readonly answers: Answers
  seq(): number
  find(key: Key): Entry | undefined
  scan(range: Range): KeyedRow[]
  isStale(tx: TxRun): boolean
  /** False: a conflict; nothing changed. */
  apply(tx: TxRun, session: number, commitId: string, requestId: string | undefined, result: Uint8Array | undefined): boolean
  wasApplied(commitId: string): boolean
  nextSession(): number
  /** Of one session, from event `from` on. */
  changes(session: number, from: number, limit: number): ChangeEvent[]
  /** Whether the last session closed cleanly; set by engines. */
  clean: boolean
}

const EVENTS_LIMIT = 65_536 // of all sessions

export function makeMemoryServer(): MemoryServer {
  const rows = makeRows()
  const answers = makeAnswers()
  const applied = new Set<string>()
  const events = new Map<number, ChangeEvent[]>()
  const nextEvent = new Map<number, number>()
  let eventCount = 0
  let committedSeq = 0
  let sessions = 0
  const writtenAt = (key: Key): number => rows.find(key)?.seq ?? 0

  function keepEvents(session: number, fresh: readonly Uint8Array[]): void {
    let list = events.get(session)
    if (list === undefined) events.set(session, (list = []))
    let n = nextEvent.get(session) ?? 1
    for (const bytes of fresh) list.push({ session, n: n++, bytes })
    nextEvent.set(session, n)
    eventCount += fresh.length
    for (const [oldest, old] of events) {
      if (eventCount <= EVENTS_LIMIT) break
      const cut = Math.min(old.length, eventCount - EVENTS_LIMIT)
      old.splice(0, cut)
      eventCount -= cut
      if (old.length === 0) events.delete(oldest)
    }
  }

  return {
    clean: true,
    gate: makeGate(),
    answers,
    seq: () => committedSeq,
    find: (key) => rows.find(key),
    scan: (range) => mergeScan(range, [rows.cursor(range.from, range.to, range.reverse === true)]),
    isStale: (tx) => tx.isStale(committedSeq, writtenAt),
    apply(tx, session, commitId, requestId, result) {
      if (applied.has(commitId)) return true
      if (tx.isStale(committedSeq, writtenAt) || !tx.decide((key) => rows.find(key), committedSeq + 1)) return false
      committedSeq++
      for (let i = 0; i < tx.outs; i++) rows.set(tx.outKeys[i], tx.outEntries[i])
      if (tx.events !== undefined) keepEvents(session, tx.events)
      if (requestId !== undefined && result !== undefined) answers.add(session, requestId, result)
      applied.add(commitId)
      if (applied.size > ANSWERS_LIMIT) for (const oldest of applied) {
        applied.delete(oldest)
        break
      }
      return true
    },
    wasApplied: (commitId) => applied.has(commitId),
    nextSession: () => ++sessions,
    changes: (session, from, limit) => (events.get(session) ?? []).filter((e) => e.n >= from).slice(0, limit)
  }
}
