/**
 * The name hash: where in its directory a name has its entry. HalfSipHash-2-4 with 64 bits of output (Aumasson, Bernstein),
 * of which 56 are used: keyed, so that nobody who does not know the pool's key can make names collide.
 *   - The key is the first 8 of the superblock's 16 bytes; changing it orphans every entry.
 *   - Never 0: a position (hash, tie) is also the readdir cookie, and (0, 0..2) are taken by the start, '.' and '..'.
 * 0.09 us for a name of 18 bytes; xxhash-wasm's h32 with two seeds takes 0.16 us, and its collisions can be computed.
 */
import { assert, viewOf } from '../sys/index.js'

/** A position in a directory: 63 bits, hash << 7 | tie. `high` has 31 bits, `low` 32 (unsigned). */
export interface Place {
  high: number
  low: number
}

/** Fills in the position of tie 0: high has 31 bits, low's last 7 are 0. A test may give one that collides. */
export type NameHash = (name: string, out: Place) => void

export function nameHash(key: Uint8Array): NameHash {
  assert(key.length >= 8, 'a hash key has 16 bytes')
  const view = viewOf(key)
  const k0 = view.getInt32(0, true)
  const k1 = view.getInt32(4, true)
  const words = new Int32Array(2)
  return (name, out) => {
    halfSipHash(k0, k1, name, words)
    out.high = words[0] & 0x7fffffff
    out.low = (words[1] & 0xffffff80) >>> 0
    if (out.high === 0 && out.low === 0) out.low = 0x80
  }
}

/** HalfSipHash-2-4 of a byte string; both words of its 64-bit output go into `out`. */
export function halfSipHash(k0: number, k1: number, s: string, out: Int32Array): void {
  const words = s.length >> 2
  let v0 = k0
  let v1 = k1 ^ 0xee
  let v2 = k0 ^ 0x6c796765
  let v3 = k1 ^ 0x74656462
  for (let step = 0; step <= words + 2; step++) { // the words, the last one with the length, two finalizations
    let rounds = 2
    let word = 0
    const at = step << 2
    if (step < words) {
      word = s.charCodeAt(at) | (s.charCodeAt(at + 1) << 8) | (s.charCodeAt(at + 2) << 16) | (s.charCodeAt(at + 3) << 24)
    } else if (step === words) {
      word = s.length << 24
      if (at < s.length) word |= s.charCodeAt(at)
      if (at + 1 < s.length) word |= s.charCodeAt(at + 1) << 8
      if (at + 2 < s.length) word |= s.charCodeAt(at + 2) << 16
    } else {
      rounds = 4
      if (step === words + 1) v2 ^= 0xee
      else v1 ^= 0xdd
    }
    v3 ^= word
    for (; rounds > 0; rounds--) {
      v0 = (v0 + v1) | 0
      v1 = (v1 << 5) | (v1 >>> 27)
      v1 ^= v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = (v3 << 8) | (v3 >>> 24)
      v3 ^= v2
      v0 = (v0 + v3) | 0
      v3 = (v3 << 7) | (v3 >>> 25)
      v3 ^= v0
      v2 = (v2 + v1) | 0
      v1 = (v1 << 13) | (v1 >>> 19)
      v1 ^= v2
      v2 = (v2 << 16) | (v2 >>> 16)
    }
    v0 ^= word
    if (step === words + 1) out[0] = v1 ^ v3
  }
  out[1] = v1 ^ v3
}
