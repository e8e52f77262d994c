/**
 * A set of inode numbers: a bit for each number, in pages of 32,768 that are made when first used. A million numbers in a row take
 * 128 KiB; however many are put in, it takes an eighth of the largest in bytes at most.
 */
export interface NumberSet {
  add(n: number): void
  has(n: number): boolean
}

const PAGE_NUMBERS = 32_768

export function numberSet(): NumberSet {
  const pages = new Map<number, Uint8Array>()
  return {
    add(n) {
      const at = Math.floor(n / PAGE_NUMBERS)
      let page = pages.get(at)
      if (page === undefined) pages.set(at, (page = new Uint8Array(PAGE_NUMBERS / 8)))
      const bit = n % PAGE_NUMBERS
      page[bit >>> 3] |= 1 << (bit & 7)
    },
    has(n) {
      const bit = n % PAGE_NUMBERS
      return ((pages.get(Math.floor(n / PAGE_NUMBERS))?.[bit >>> 3] ?? 0) & (1 << (bit & 7))) !== 0
    }
  }
}
