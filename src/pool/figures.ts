/** How full a pool is that nobody has open: read from its rows, and nothing is changed. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { openLmdb } from '../engine/index.js'
import { openTree } from '../meta/index.js'
import { COUNTERS_KEY, deviceBytes, UNIT_BYTES } from '../store/index.js'
import { rootContext } from '../sys/index.js'
import type { Clock, Random } from '../sys/index.js'
import { hostSpace, SPACE_FILE } from './folder.js'
import { poolRefusal } from './open.js'
import { readSuperblock } from './superblock.js'

export interface PoolFigures {
  readonly sizeBytes: number
  readonly usedBytes: number
  /** What files may still take: free in the pool, and of the host what it has left. */
  readonly freeBytes: number
  readonly inodes: number
  /** Of what is used: files in the trash, by their sizes. */
  readonly trashBytes: number
}

export async function poolFigures(folder: string, { clock, random }: { readonly clock: Clock, readonly random: Random }): Promise<PoolFigures> {
  try {
    const { sizeBytes, nameKey } = readSuperblock(folder)
    const engine = await openLmdb({ folder, clock, random, readOnly: true })
    try {
      const reader = engine.reader(rootContext)
      const tree = openTree({ hashKey: nameKey })
      const { inodes } = await tree.usage(reader)
      const trashBytes = (await tree.trashes(reader)).reduce((sum, { bytes }) => sum + bytes, 0)
      const usedBytes = ((await reader.counters(COUNTERS_KEY))?.[0] ?? 0) * UNIT_BYTES
      const isDevice = deviceBytes(join(folder, SPACE_FILE)) !== undefined
      const roomBytes = isDevice ? Infinity : hostSpace(folder).freeBytes + statSync(join(folder, SPACE_FILE)).blocks * 512 - usedBytes
      return { sizeBytes, usedBytes, freeBytes: Math.max(0, Math.min(sizeBytes - usedBytes, roomBytes)), inodes, trashBytes }
    } finally {
      await engine.close()
    }
  } catch (e) {
    throw poolRefusal(e, folder)
  }
}
