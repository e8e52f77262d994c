/**
 * What machine this is. Ogee runs on Linux, x86-64 and arm64: both are little-endian, and their system calls differ only
 * in what is named here. Node has no other way to learn of an unsupported machine before the first call fails oddly.
 */
import { readFileSync } from 'node:fs'
import { arch, platform, release } from 'node:os'

/** The sentence that refuses a machine, or undefined if it is one of ours. */
export function platformRefusal(os: string = platform(), cpu: string = arch()): string | undefined {
  if (os === 'linux' && (cpu === 'x64' || cpu === 'arm64')) return undefined
  return `Ogee runs on Linux, x86-64 or arm64, not on ${os} ${cpu}: use a Linux machine, container or virtual machine.`
}

export function requirePlatform(): void {
  const refusal = platformRefusal()
  if (refusal !== undefined) throw new Error(refusal)
}

/** struct epoll_event is packed on x86-64 only; `data` follows at EPOLL_DATA_AT. */
export const EPOLL_EVENT_BYTES = arch() === 'x64' ? 12 : 16
export const EPOLL_DATA_AT = arch() === 'x64' ? 4 : 8

/** The running kernel, as one comparable number: 6.18.3 is 6018. */
export function kernelVersion(text: string = release()): number {
  const [major, minor] = text.split('.')
  return Number.parseInt(major ?? '', 10) * 1000 + Number.parseInt(minor ?? '', 10)
}

let cachedBootId: string | undefined

/** Changes with each boot: whether the page cache that held our bytes is still the same one. */
export function bootId(): string {
  cachedBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  return cachedBootId
}
