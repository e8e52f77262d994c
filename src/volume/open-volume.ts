/** A volume, or a snapshot of one, that somebody has open: what NBD and the files of volumes ask of it. */
import type { Part } from '../data/index.js'
import type { MaybePromise } from '../engine/index.js'

/** A volume in use. Ranges must lie within `sizeBytes`. */
export interface OpenVolume {
  readonly name: string
  /** As it is now. */
  readonly sizeBytes: number
  /** Takes the lease now; throws as a change would. */
  claim(): void
  /** Why it could not be changed now: another client writes, or took over. */
  readonly refusal: string | undefined
  read(offsetBytes: number, lengthBytes: number, into: Uint8Array, at: number): MaybePromise<number>
  /** In the tick where nothing but bytes in place changes. The bytes must stay as they are until it resolves. */
  write(offsetBytes: number, from: Uint8Array, at: number, lengthBytes: number): MaybePromise<void>
  /** Gives space back; reads as zeros. */
  trim(offsetBytes: number, lengthBytes: number): Promise<void>
  /** Reads as zeros; `hold`: and its space is held. */
  zero(offsetBytes: number, lengthBytes: number, space: 'free' | 'hold'): Promise<void>
  layout(offsetBytes: number, lengthBytes: number, limit: number): MaybePromise<readonly Part[]>
  flush(): Promise<void>
  close(): void
}
