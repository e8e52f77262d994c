/**
 * A client of a volume, as one that came over NBD with several requests in flight: writes (some with FUA), trims, zeroes and flushes, and now and
 * then it goes back to a snapshot. The volume is written in stripes, each of which has one request on its way at most, so that each has one order
 * of versions; what is flushed is flushed for all of them.
 */
import type { Pool } from '../../src/pool/index.js'
import type { Client, World } from './clients.js'
import { isThere, signedBytes, STRIPE_BYTES, STRIPES, VOLUME } from './history.js'
import type { FileHistory } from './history.js'

const SECTOR_BYTES = 512

export async function prepareVolume(pool: Pool): Promise<void> {
  await pool.volumes.create(VOLUME, STRIPES * STRIPE_BYTES)
}

/** What the volume, or a snapshot of it, holds: stripe by stripe. */
export async function readStripes({ volumes }: Pool, name: string): Promise<readonly Buffer[]> {
  const volume = await volumes.open(name, 'reader')
  try {
    const stripes: Buffer[] = []
    for (let n = 0; n < STRIPES; n++) {
      const into = Buffer.alloc(STRIPE_BYTES)
      await volume.read(n * STRIPE_BYTES, STRIPE_BYTES, into, 0)
      stripes.push(into)
    }
    return stripes
  } finally {
    volume.close()
  }
}

export async function makeVolumeClient({ pool, history, random, nowMs }: World): Promise<Client> {
  const { stripes } = history
  let volume = await pool.volumes.open(VOLUME, 'writer')
  const upTo = (n: number): number => random.uint32() % n

  function range(): { readonly offset: number, readonly length: number } {
    const sectors = STRIPE_BYTES / SECTOR_BYTES
    const [from, count] = [[upTo(sectors / 8) * 8, 8], [upTo(sectors / 8) * 8, 8 * (1 + upTo(4))], [upTo(sectors), 1 + upTo(12)], [upTo(sectors / 2), 132 + upTo(200)]][[0, 0, 0, 1, 2, 3][upTo(6)]]
    return { offset: from * SECTOR_BYTES, length: Math.min(sectors - from, count) * SECTOR_BYTES }
  }

  async function change(n: number, stripe: FileHistory): Promise<void> {
    const { offset, length } = range()
    const what = (['write', 'write', 'write', 'write', 'write', 'write', 'trim', 'free', 'hold'] as const)[upTo(9)]
    const isFua = upTo(8) === 0
    const bytes = Buffer.from(stripe.versions.at(-1)!.bytes)
    const written = what === 'write' ? signedBytes(stripe.id, stripe.versions.length, offset, length) : Buffer.alloc(length)
    written.copy(bytes, offset)
    const version = { startMs: nowMs(), endMs: Infinity, what: `${what} ${offset}+${length}`, bytes, hurried: false }
    stripe.versions.push(version)
    const at = n * STRIPE_BYTES + offset
    if (what === 'write') await volume.write(at, written, 0, length)
    else if (what === 'trim') await volume.trim(at, length)
    else await volume.zero(at, length, what)
    if (isFua) await volume.flush()
    version.endMs = nowMs()
    if (isFua) stripe.syncs.push({ endMs: nowMs(), version: stripe.versions.indexOf(version) })
  }

  async function flush(): Promise<void> {
    const answered = stripes.map((s) => s.versions.findLastIndex((v) => v.endMs < Infinity))
    await volume.flush()
    stripes.forEach((s, n) => s.syncs.push({ endMs: nowMs(), version: answered[n] }))
  }

  async function rollBack(): Promise<void> {
    const mine = history.snapshots.filter((s) => s.of === VOLUME && isThere(s))
    const to = mine[upTo(mine.length)]
    if (to === undefined || history.isSnapshotting) return
    history.isSnapshotting = true
    const then = await readStripes(pool, `${VOLUME}@${to.name}`)
    volume.close()
    const startMs = nowMs()
    const removals = mine.slice(mine.indexOf(to) + 1).map((s) => (s.removal = { startMs, endMs: Infinity }))
    const versions = stripes.map((s, n) => {
      const version = { startMs, endMs: Infinity, what: `back to ${to.name}`, bytes: then[n], hurried: false, isRollback: true }
      s.versions.push(version)
      return version
    })
    await pool.snapshots.rollBack(`${VOLUME}@${to.name}`, 'remove')
    const endMs = nowMs()
    for (const r of removals) r.endMs = endMs
    for (const v of versions) v.endMs = endMs
    for (const s of stripes) s.syncs.push({ endMs, version: s.versions.length - 1 })
    volume = await pool.volumes.open(VOLUME, 'writer')
    history.isSnapshotting = false
  }

  return {
    async step() {
      history.operations++
      if (upTo(30) === 0) return rollBack()
      const requests = stripes.flatMap((s, n) => (upTo(2) === 0 ? [change(n, s)] : []))
      if (requests.length === 0 || upTo(5) === 0) requests.push(flush())
      await Promise.all(requests)
    },
    async end() {
      volume.close()
    }
  }
}
