/**
 * What can be wrong with an engine when it is opened: a closed list, for the command line and fsck. Each carries a sentence
 * that says what to do next. What fails later is a PosixError (EIO once the engine failed, EROFS if read-only).
 */
import { PosixError } from '../sys/index.js'

export type EngineErrorCode =
  | 'ENGINE_NEWER_FORMAT' // written by a later version of Ogee
  | 'ENGINE_LOG_MISSING' // the rows are there, the log is not
  | 'ENGINE_LOG_FOREIGN' // the log belongs to another pool, or is no log
  | 'ENGINE_LOG_DAMAGED' // its header's checksum is wrong, or its size
  | 'ENGINE_ROWS_MISSING' // the log is there, the rows are not; or nothing is, and the pool was opened read-only
  | 'ENGINE_ROWS_DAMAGED' // LMDB refuses its file, or a system row has a wrong form
  | 'ENGINE_IN_USE' // another process has it open for writing
  | 'ENGINE_OPTIONS' // sizes that cannot work
  | 'ENGINE_IO' // the host refused a call while opening

export class EngineError extends Error {
  readonly code: EngineErrorCode

  constructor(code: EngineErrorCode, sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause })
    this.name = 'EngineError'
    this.code = code
  }
}

/** A row whose checksum is wrong: EIO for whoever needs it, and a sentence for whoever opens the pool. */
export class DamagedError extends PosixError {
  /** Of the row; undefined: nobody knows which. */
  readonly key: string | undefined

  constructor(what: string, key?: string) {
    super('EIO', `${what}: run ogee fsck on the pool.`)
    this.name = 'DamagedError'
    this.key = key
  }
}
