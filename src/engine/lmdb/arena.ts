/**
 * Memory for many small records without an object each: chunks that are filled from the front and emptied all at once.
 *   - An address counts 4-byte words: chunk number << CHUNK_SHIFT | word in the chunk. Address 0 is the first that is given.
 *   - What is larger than a chunk gets one of its own, from whose begin it goes on; records that are walked are never that large.
 *   - clear() keeps up to KEEP_CHUNKS for the next filling, so that a checkpoint frees and the commits after it allocate nothing.
 * Nothing here is seen by the garbage collector but the chunks: it neither traces, copies nor promotes what they hold.
 */
const CHUNK_SHIFT = 16
const CHUNK_WORDS = 1 << CHUNK_SHIFT // 256 KiB
const CHUNK_BYTES = CHUNK_WORDS * 4
const KEEP_CHUNKS = 96 // 24 MiB: what a checkpoint usually moves

/** Bytes of a chunk from `start` to `end`: one object per chunk, set anew for every use, so that LMDB is given bytes without garbage. */
export interface Slice {
  readonly buffer: ArrayBufferLike
  readonly bytes: Buffer
  start: number
  end: number
  /** Where LMDB found the buffer in memory. */
  address: number
}

export interface Arena {
  /** Answers the address of so many bytes, uninitialised. */
  take(bytes: number): number
  /** The words of the chunk that an address is in. */
  readonly words: readonly Int32Array[]
  slice(address: number, bytes: number): Slice
  /** Bytes of chunks in use, and of those kept. */
  readonly heldBytes: number
  clear(): void
}

export const wordIn = (address: number): number => address & (CHUNK_WORDS - 1)
export const chunkOf = (address: number): number => address >>> CHUNK_SHIFT

export function makeArena(): Arena {
  const words: Int32Array[] = []
  const slices: Slice[] = []
  const spare: { readonly words: Int32Array; readonly slice: Slice }[] = []
  let used = CHUNK_WORDS // of the chunk that is being filled
  let filling = -1
  let heldBytes = 0

  function add(bytes: number): number {
    const kept = bytes === CHUNK_BYTES ? spare.pop() : undefined
    const buffer = kept === undefined ? Buffer.allocUnsafeSlow(bytes) : undefined
    words.push(kept?.words ?? new Int32Array(buffer!.buffer, 0, bytes >>> 2))
    slices.push(kept?.slice ?? { buffer: buffer!.buffer, bytes: buffer!, start: 0, end: 0, address: 0 })
    if (kept === undefined) heldBytes += bytes
    return words.length - 1
  }

  return {
    words,
    take(bytes) {
      const count = (bytes + 3) >>> 2
      if (count > CHUNK_WORDS) return add(count << 2) << CHUNK_SHIFT
      if (used + count > CHUNK_WORDS) {
        filling = add(CHUNK_BYTES)
        used = 0
      }
      const address = (filling << CHUNK_SHIFT) | used
      used += count
      return address
    },
    slice(address, bytes) {
      const slice = slices[chunkOf(address)]
      slice.start = wordIn(address) << 2
      slice.end = slice.start + bytes
      return slice
    },
    get heldBytes() {
      return heldBytes
    },
    clear() {
      for (let i = 0; i < words.length; i++) {
        if (words[i].length === CHUNK_WORDS && spare.length < KEEP_CHUNKS) spare.push({ words: words[i], slice: slices[i] })
        else heldBytes -= words[i].byteLength
      }
      words.length = slices.length = 0
      used = CHUNK_WORDS
      filling = -1
    }
  }
}
