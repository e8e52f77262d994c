/**
 * Random numbers are a parameter: `systemRandom` in production, `seededRandom(n)` where a run must repeat.
 * Keys and identities use `bytes`; the seeded generator is for tests and simulation only and is no secret-keeper.
 */
import { randomFillSync } from 'node:crypto'

export interface Random {
  bytes(length: number): Uint8Array
  uint32(): number
}

const POOL_WORDS = 256 // one system call per 1 KiB
const pool = new Uint32Array(POOL_WORDS)
let poolNext = POOL_WORDS

export const systemRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
  uint32() {
    if (poolNext === POOL_WORDS) {
      randomFillSync(pool)
      poolNext = 0
    }
    return pool[poolNext++]
  }
}

/** sfc32 (Doty-Humphrey's small fast counting generator), the same sequence for the same seed on every machine. */
export function seededRandom(seed: number): Random {
  let a = seed >>> 0
  let b = Math.floor(seed / 4294967296) >>> 0
  let c = 0x9e3779b9
  let counter = 1
  const uint32 = (): number => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return t >>> 0
  }
  for (let i = 0; i < 12; i++) uint32() // mixes a small seed into all words
  return {
    uint32,
    bytes(length) {
      const out = new Uint8Array(length)
      for (let at = 0; at < length; at += 4) {
        const word = uint32()
        for (let i = 0; i < 4 && at + i < length; i++) out[at + i] = word >>> (8 * i)
      }
      return out
    }
  }
}
