/**
 * What a connection has to say: replies, written one behind the other into chunks of memory, sent in the order in which they became ready.
 *   - `take` gives room for one reply; it counts as said with `say`, at once or later (a read that waits for the disk), or is dropped.
 *   - Replies of one chunk that follow each other leave in one system call.
 *   - A chunk goes back to the pool when nothing of it is unsent or undecided: an idle connection holds none.
 */
const CHUNK_BYTES = 256 * 1024
const KEEP_BYTES = 16 * 1024 * 1024

export interface Chunk {
  readonly bytes: Buffer
  readonly view: DataView
  used: number
  /** Parts that are unsent or undecided. */
  parts: number
}

export interface ChunkPool {
  take(leastBytes: number): Chunk
  give(chunk: Chunk): void
}

export function makeChunkPool(): ChunkPool {
  const free: Chunk[] = []
  let freeBytes = 0
  return {
    take(leastBytes) {
      for (let i = free.length - 1; i >= 0; i--) {
        const chunk = free[i]
        if (chunk.bytes.length < leastBytes || chunk.bytes.length > 4 * Math.max(leastBytes, CHUNK_BYTES)) continue
        free.splice(i, 1)
        freeBytes -= chunk.bytes.length
        return chunk
      }
      let size = CHUNK_BYTES
      while (size < leastBytes) size *= 2
      const bytes = Buffer.allocUnsafeSlow(size)
      return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, size), used: 0, parts: 0 }
    },
    give(chunk) {
      if (freeBytes + chunk.bytes.length > KEEP_BYTES) return
      chunk.used = 0
      chunk.parts = 0
      free.push(chunk)
      freeBytes += chunk.bytes.length
    }
  }
}

/** Room for one reply. */
export interface Room {
  readonly chunk: Chunk
  readonly at: number
}

interface Part {
  readonly chunk: Chunk
  from: number
  to: number
}

export interface Outbox {
  take(bytes: number): Room
  /** The first `bytes` of the room are a reply. */
  say(room: Room, bytes: number): void
  drop(room: Room): void
  /** Sends what it can; `send` answers how many bytes went, less than asked when no more go now, or a negative errno. Answers 0 or that errno. */
  flush(send: (bytes: Buffer, at: number, length: number) => number): number
  readonly unsentBytes: number
  clear(): void
}

export function makeOutbox(pool: ChunkPool): Outbox {
  let current: Chunk | undefined
  let queue: Part[] = []
  let unsentBytes = 0

  const settle = (chunk: Chunk): void => {
    if (--chunk.parts > 0) return
    if (chunk === current) current = undefined
    pool.give(chunk)
  }

  return {
    get unsentBytes() {
      return unsentBytes
    },
    take(bytes) {
      if (current === undefined || current.used + bytes > current.bytes.length) current = pool.take(bytes)
      const room = { chunk: current, at: current.used }
      current.used += bytes
      current.parts++
      return room
    },
    say({ chunk, at }, bytes) {
      const last = queue[queue.length - 1]
      unsentBytes += bytes
      if (last !== undefined && last.chunk === chunk && last.to === at) {
        last.to += bytes
        chunk.parts--
      } else queue.push({ chunk, from: at, to: at + bytes })
    },
    drop: ({ chunk }) => settle(chunk),
    flush(send) {
      let done = 0
      try {
        while (done < queue.length) {
          const part = queue[done]
          const sent = send(part.chunk.bytes, part.from, part.to - part.from)
          if (sent < 0) return sent
          unsentBytes -= sent
          part.from += sent
          if (part.from < part.to) return 0
          done++
          settle(part.chunk)
        }
        return 0
      } finally {
        if (done === queue.length) queue.length = 0
        else if (done > 0) queue = queue.slice(done)
      }
    },
    clear() {
      for (const { chunk } of queue) settle(chunk)
      queue = []
      unsentBytes = 0
    }
  }
}
