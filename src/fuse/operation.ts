/** What an operation is to the session: how much body it must have, and what runs it. The tables are in operations-*.ts. */
import type { Request } from './request.js'
import type { Session } from './session.js'

export interface Operation {
  /** The fixed part of the body; a shorter request is EINVAL and never reaches `run`. */
  readonly bodyBytes: number
  /** Answers through the session, now or later, exactly once; what it throws is the answer. */
  readonly run: (s: Session, r: Request) => void
  /** Makes a new inode: the request may carry the caller's groups. */
  readonly creates?: true
  /** Reads from the request's frame until it has answered. */
  readonly keepsFrame?: true
  /** The kernel expects no answer, not even to a malformed one. */
  readonly silent?: true
  /** May come before INIT. */
  readonly early?: true
}

export type OperationTable = readonly (readonly [opcode: number, operation: Operation])[]
