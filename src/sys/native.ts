/**
 * Calls into libc through koffi: the one place that knows of it.
 *   - A call returns its result >= 0, or the negative errno. It never throws: hot paths branch, the rest uses `check`.
 *   - errno belongs to the thread that ran the call. In the tick it is read right after the call; off the loop koffi carries
 *     it from the pool thread into the callback, where it is read first of all (a test holds this under load).
 *   - A buffer is passed in place, never copied. It must not be detached while a call runs; `offLoop` keeps it alive.
 *   - Lengths are checked against the buffer here: a wrong one would be a memory error, not an exception.
 * Costs on a 2-core VM (Node 20): read(2) of /dev/null into a Buffer 290 ns (fs.readSync 390; the call itself about 100),
 * a failed call 240 ns, off the loop 25-45 us there and back.
 */
import koffi from 'koffi'
import { requirePlatform } from './platform.js'

// libuv starts its pool at the first asynchronous use and reads this then. An ES module as the program's entry is too late
// (node reads it through the pool): `bin/ogee` and whoever spawns a daemon set it too, with POOL_ENVIRONMENT.
const POOL_THREADS = '16'
process.env.UV_THREADPOOL_SIZE ??= POOL_THREADS

/** What a child process must find in its environment so that its pool is large enough. */
export const POOL_ENVIRONMENT: Readonly<Record<string, string>> = { UV_THREADPOOL_SIZE: POOL_THREADS }

requirePlatform()

const OFF_LOOP_LIMIT = 1024 // calls handed to the pool at once; more wait here, in order
koffi.config({
  max_async_calls: OFF_LOOP_LIMIT + 16, // koffi counts a call until its callback has returned, we until it starts
  async_stack_size: 64 * 1024,
  async_heap_size: 16 * 1024,
  resident_async_pools: 16
})

const libc = koffi.load('libc.so.6')

/** A pointer argument: bytes in place, an address (see addressOf), a string (NUL-terminated UTF-8 copy), or null. */
export type Arg = number | string | Uint8Array | null

export interface Native<A extends readonly Arg[]> {
  (...args: A): number
  async(...args: [...A, (failed: Error | null, rc: number) => void]): void
}

/** Binds a libc function that answers -1 and errno. `definition` is its C prototype. */
export const bind = <A extends readonly Arg[]>(definition: string): Native<A> =>
  libc.func(definition) as unknown as Native<A>

/** The negative errno for -1. Right after the call, before anything else can run. */
export const result = (rc: number): number => (rc === -1 ? -koffi.errno() : rc)

let offLoopRunning = 0
const offLoopWaiting: (() => void)[] = []

/** Runs the call on a thread of libuv's pool. Resolves like the call itself: >= 0 or the negative errno. */
export function offLoop<A extends readonly Arg[]>(call: Native<A>, ...args: A): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = (): void => {
      offLoopRunning++
      call.async(...args, (failed, rc) => {
        const answer = rc === -1 ? -koffi.errno() : rc
        offLoopRunning--
        keepAlive(args)
        if (failed !== null) reject(failed)
        else resolve(answer)
        offLoopWaiting.shift()?.()
      })
    }
    if (offLoopRunning < OFF_LOOP_LIMIT) start()
    else offLoopWaiting.push(start)
  })
}

/** koffi does not hold the buffers of a call that runs on a thread: the callback that mentions them does. */
function keepAlive(_held: unknown): void {}

const bases = new WeakMap<ArrayBufferLike, number>()
const lastAddressed: { buf: Uint8Array | undefined } = { buf: undefined }

/**
 * The address of a buffer's first byte, for structures that point to it (iovec). Stable until the buffer is collected:
 * the last one asked for is kept, others the caller keeps. Addresses are below 2^52.
 */
export function addressOf(buf: Uint8Array): number {
  lastAddressed.buf = buf
  let base = bases.get(buf.buffer)
  if (base === undefined) {
    base = Number(koffi.address(buf.buffer))
    bases.set(buf.buffer, base)
  }
  return base + buf.byteOffset
}

/** The bytes from `at` as an argument of a call in the tick, without a view object. */
export function pointerAt(buf: Uint8Array, at: number, length: number): Uint8Array | number {
  if (at < 0 || length < 0 || at + length > buf.length) throw new RangeError(`bytes ${at}+${length} of ${buf.length}`)
  return at === 0 ? buf : addressOf(buf) + at
}

/** The bytes from `at` as an argument of a call off the loop: the view keeps them alive. */
export function viewAt(buf: Uint8Array, at: number, length: number): Uint8Array {
  if (at < 0 || length < 0 || at + length > buf.length) throw new RangeError(`bytes ${at}+${length} of ${buf.length}`)
  return at === 0 ? buf : buf.subarray(at, at + length)
}

const NUL = Buffer.from([0])

/** A path as bytes: names need not be UTF-8. A NUL inside cannot be passed on and would cut the path short. */
export function pathArgument(path: string | Buffer): string | Buffer {
  if (path.includes('\0')) throw new RangeError('a path has no NUL byte')
  return typeof path === 'string' ? path : Buffer.concat([path, NUL])
}
