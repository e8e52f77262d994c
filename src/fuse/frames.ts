/**
 * Buffers for requests and replies, used again and again: a hot path makes none.
 *   - Who takes a frame gives it back exactly once, and touches it no more.
 *   - What follows a reply's header lies at the start of a page, so that a disk writes its bytes there and nobody copies them.
 *   - Three sizes, so that thousands of small requests in flight do not hold a megabyte each. Spare ones are kept up to a
 *     bound; beyond it they are garbage. The large ones, which requests use too, lie in big pages as long as there is room.
 */
import { alignedBytes, lastingBytes, PAGE_BYTES, viewOf } from '../sys/index.js'
import { OUT_HEADER_BYTES, REQUEST_BYTES_MAX } from './protocol.js'

export interface Frame {
  readonly bytes: Buffer
  readonly view: DataView
}

const frameOf = (bytes: Buffer): Frame => ({ bytes, view: viewOf(bytes) })

export const makeFrame = (lengthBytes: number): Frame => frameOf(alignedBytes(lengthBytes, OUT_HEADER_BYTES))

const SIZES = [OUT_HEADER_BYTES + 16 * 1024, OUT_HEADER_BYTES + 128 * 1024, REQUEST_BYTES_MAX]
const SPARE = [64, 32, 32]
const LARGE = 2

const PLACES = 15 // in 16 MiB
const PLACE_BYTES = REQUEST_BYTES_MAX + PAGE_BYTES
let places: Buffer | undefined
let placesTaken = 0

/** One of the process's places in big pages, else memory of its own. */
function makeLargeFrame(): Frame {
  if (placesTaken === 0) places = lastingBytes(PLACES * PLACE_BYTES)
  if (places === undefined || placesTaken === PLACES) return makeFrame(REQUEST_BYTES_MAX)
  const at = placesTaken++ * PLACE_BYTES + PAGE_BYTES - OUT_HEADER_BYTES
  return frameOf(places.subarray(at, at + REQUEST_BYTES_MAX))
}

export class FramePool {
  private readonly spare: Frame[][] = SIZES.map(() => [])

  /** A frame for a reply of up to 1 MiB and its header. */
  takeReply(lengthBytes: number): Frame {
    let size = 0
    while (SIZES[size] < lengthBytes) size++
    return this.spare[size].pop() ?? (size === LARGE ? makeLargeFrame() : makeFrame(SIZES[size]))
  }

  giveReply(frame: Frame): void {
    const size = SIZES.indexOf(frame.bytes.length)
    if (this.spare[size].length < SPARE[size]) this.spare[size].push(frame)
  }

  /** A frame that any request fits. */
  takeRequest(): Frame {
    return this.takeReply(REQUEST_BYTES_MAX)
  }

  giveRequest(frame: Frame): void {
    this.giveReply(frame)
  }
}
