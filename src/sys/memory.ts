/**
 * Memory that disks and the kernel like: at the start of a page, and in pages of 2 MiB where there are such.
 *   - What lies at the start of a page a disk writes into without a copy (O_DIRECT).
 *   - A megabyte in one big page is one entry of the TLB and one segment for the disk, not 256: on a virtual machine that is worth
 *     a factor of 1.4 for direct reads of 1 MiB.
 */
import koffi from 'koffi'
import { addressOf, bind, result } from './native.js'

export const PAGE_BYTES = 4096
const BIG_PAGE_BYTES = 2 * 1024 * 1024
const PROT_READ_WRITE = 3
const MAP_PRIVATE_ANONYMOUS = 0x22
const MADV_HUGEPAGE = 14

const libc = {
  mmap: bind<[null, number, number, number, number, number]>(
    'int64_t mmap(void *address, size_t length, int prot, int flags, int fd, int64_t offset)'),
  madvise: bind<[number, number, number]>('int madvise(intptr_t address, size_t length, int advice)')
}

/** A mapping as bytes; undefined if the kernel refuses it. It is never taken back. */
export function mapped(length: number, flags: number, fd: number, offset: number): { readonly bytes: ArrayBuffer, readonly address: number } | undefined {
  const address = result(libc.mmap(null, length, PROT_READ_WRITE, flags, fd, offset))
  return address < 0 && address > -PAGE_BYTES ? undefined : { bytes: koffi.view(BigInt(address), length), address }
}

/** New bytes, the one at `at` at the start of a page. Memory of its own, never a piece of node's pool. */
export function alignedBytes(length: number, at: number): Buffer {
  const memory = new ArrayBuffer(length + PAGE_BYTES)
  const padding = PAGE_BYTES - 1 - (addressOf(new Uint8Array(memory)) + at + PAGE_BYTES - 1) % PAGE_BYTES
  return Buffer.from(memory, padding, length)
}

/** Bytes for as long as the process lives, in big pages where the kernel has some; what is not touched costs nothing. Undefined: no room. */
export function lastingBytes(length: number): Buffer | undefined {
  const m = mapped(length + BIG_PAGE_BYTES, MAP_PRIVATE_ANONYMOUS, -1, 0)
  if (m === undefined) return undefined
  const padding = (BIG_PAGE_BYTES - m.address % BIG_PAGE_BYTES) % BIG_PAGE_BYTES
  result(libc.madvise(m.address + padding, length, MADV_HUGEPAGE)) // refused: small pages do as well
  return Buffer.from(m.bytes, padding, length)
}
