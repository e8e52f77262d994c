/**
 * Buffers for requests and replies, used again and again: a hot path makes none.
 *   - Who takes a frame gives it back exactly once, and touches it no more.
 *   - Three sizes, so that thousands of small requests in flight do not hold a megabyte each. Spare ones are kept up to a
 *     bound; beyond it they are garbage.
 */
import { viewOf } from '../sys/index.js'
import { OUT_HEADER_BYTES, REQUEST_BYTES_MAX, TRANSFER_BYTES_MAX } from './protocol.js'

export interface Frame {
  readonly bytes: Buffer
  readonly view: DataView
}

export function makeFrame(lengthBytes: number): Frame {
  const bytes = Buffer.from(new ArrayBuffer(lengthBytes)) // its own memory: never a piece of node's shared pool
  return { bytes, view: viewOf(bytes) }
}

const SIZES = [OUT_HEADER_BYTES + 16 * 1024, OUT_HEADER_BYTES + 128 * 1024, OUT_HEADER_BYTES + TRANSFER_BYTES_MAX]
const SPARE = [64, 32, 16]

export class FramePool {
  private readonly replies: Frame[][] = SIZES.map(() => [])
  private readonly requests: Frame[] = []

  /** A frame for a reply of up to 1 MiB and its header. */
  takeReply(lengthBytes: number): Frame {
    let size = 0
    while (SIZES[size] < lengthBytes) size++
    return this.replies[size].pop() ?? makeFrame(SIZES[size])
  }

  giveReply(frame: Frame): void {
    const size = SIZES.indexOf(frame.bytes.length)
    if (this.replies[size].length < SPARE[size]) this.replies[size].push(frame)
  }

  /** A frame that any request fits. */
  takeRequest(): Frame {
    return this.requests.pop() ?? makeFrame(REQUEST_BYTES_MAX)
  }

  giveRequest(frame: Frame): void {
    if (this.requests.length < 16) this.requests.push(frame)
  }
}
