/**
 * Memory for the bytes of writes, used again and again: by powers of two, at most KEEP_BYTES in reserve. What lies in it after its request is of no
 * use to anybody; a buffer may be longer than was asked.
 */
const LEAST_BYTES = 4096
const KEEP_BYTES = 32 * 1024 * 1024

export interface PayloadPool {
  take(bytes: number): Buffer
  give(payload: Buffer): void
}

export function makePayloadPool(): PayloadPool {
  const free: Buffer[][] = []
  let freeBytes = 0
  const classOf = (bytes: number): number => Math.max(0, 32 - Math.clz32(bytes - 1) - 12)
  return {
    take(bytes) {
      const k = classOf(bytes)
      const found = free[k]?.pop()
      if (found === undefined) return Buffer.allocUnsafeSlow(LEAST_BYTES * 2 ** k)
      freeBytes -= found.length
      return found
    },
    give(payload) {
      if (freeBytes + payload.length > KEEP_BYTES) return
      freeBytes += payload.length
      const k = classOf(payload.length)
      while (free.length <= k) free.push([])
      free[k].push(payload)
    }
  }
}
