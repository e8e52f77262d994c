/**
 * Ranges of keys. Keys are byte strings in byte order, so that a range is two strings: from <= key < to.
 * A key has 1 to 1,024 bytes: what fits every engine (LMDB takes 1,978, a SQL index less).
 */
import type { Key, Range } from './engine.js'

export const KEY_BYTES_LIMIT = 1024

/** The first key after `key`: nothing lies between. */
export const keySuccessor = (key: Key): Key => `${key}\u0000`

/** The first key after all that start with `prefix`; undefined if there is none (all bytes 255). */
export function prefixEnd(prefix: Key): Key | undefined {
  let length = prefix.length
  while (length > 0 && prefix.charCodeAt(length - 1) === 255) length--
  if (length === 0) return undefined
  return prefix.slice(0, length - 1) + String.fromCharCode(prefix.charCodeAt(length - 1) + 1)
}

/** Above every key: longer than a key may be. */
export const KEY_END: Key = '\u00ff'.repeat(KEY_BYTES_LIMIT + 1)

/** All keys that start with `prefix`. */
export const prefixRange = (prefix: Key, limit = Infinity): Range => ({ from: prefix, to: prefixEnd(prefix) ?? KEY_END, limit })
