/** A session that knows all operations, by opcode. What is not here is answered ENOSYS: locks (the kernel keeps them itself), POLL, BMAP, DAX. */
import { INTERRUPT_IN_BYTES } from './codec-file.js'
import { INIT_IN_BYTES } from './codec-header.js'
import { attrOperations } from './operations-attrs.js'
import { fileOperations } from './operations-files.js'
import { nameOperations } from './operations-names.js'
import * as p from './protocol.js'
import { backgroundContext } from '../sys/index.js'
import { FramePool } from './frames.js'
import { Session } from './session.js'
import type { Operation, OperationTable, ReplySink, SessionOptions } from './session.js'

const lifeOperations: OperationTable = [
  [p.INIT, { bodyBytes: INIT_IN_BYTES, early: true, run: (s, r) => s.begin(r) }],
  [p.INTERRUPT, { bodyBytes: INTERRUPT_IN_BYTES, silent: true, run: (s, r) => s.interrupt(r) }],
  [p.SYNCFS, { bodyBytes: 0, run: (s, r) => s.settle(r, s.vfs.syncAll(backgroundContext()), s.answerNothing) }],
  [p.DESTROY, { bodyBytes: 0, early: true, run(s, r) {
    s.answerNothing(s, r)
    void s.close()
  } }]
]

const operations: readonly (Operation | undefined)[] = (() => {
  const all = new Array<Operation | undefined>(p.OPCODES).fill(undefined)
  for (const table of [lifeOperations, nameOperations, fileOperations, attrOperations])
    for (const [opcode, operation] of table) all[opcode] = operation
  return all
})()

export const openSession = (options: SessionOptions, sink: ReplySink, frames = new FramePool()): Session => new Session(operations, options, sink, frames)
