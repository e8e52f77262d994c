/** The POSIX table straight against the vfs, which decides permissions itself: over each engine, and over a bad network. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { manualClock, seededRandom, systemClock, systemRandom } from '../../../src/sys/index.js'
import type { Clock } from '../../../src/sys/index.js'
import { openLmdb } from '../../../src/engine/index.js'
import { openPool } from '../../../src/pool/index.js'
import { hurriedClock, openRig } from '../rig.js'
import type { Rig } from '../rig.js'
import { runTable } from './suite.js'
import type { Driver } from './table.js'
import { driveVfs } from './vfs-driver.js'

const vfs = { checkPermissions: true, isHeld: (): boolean => false }

/** A clock whose wall stands still until `tick`: every difference of times is one that a case asked for. */
function tickingClock(base: Clock): { clock: Clock; tick(): Promise<void> } {
  const wall = manualClock()
  return { clock: { ...base, realtime: wall.realtime }, tick: async () => wall.advance(10) }
}

const drive = (rig: Rig, tick: () => Promise<void>, cleanUp: () => void = () => undefined): Driver =>
  driveVfs(rig.vfs, { tick, close: () => rig.close().finally(cleanUp) })

runTable('vfs over the memory engine', async () => {
  const { clock, tick } = tickingClock(hurriedClock)
  return drive(await openRig({ clock, vfs }), tick)
})

runTable('vfs over a remote engine with conflicts and lost answers', async () => {
  const { clock, tick } = tickingClock(hurriedClock)
  const memory = { latencyMs: [1, 2] as const, conflictChance: 0.1, lostAnswerChance: 0.05, random: seededRandom(3) }
  return drive(await openRig({ clock, vfs, memory }), tick)
})

runTable('vfs of a whole pool', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-vfs-'))
  const { clock, tick } = tickingClock(systemClock)
  const pool = await openPool(folder, { clock, random: systemRandom, vfs, note: () => undefined })
  return driveVfs(pool.vfs, { tick, close: () => pool.close().finally(() => rmSync(folder, { recursive: true, force: true })) })
})

runTable('vfs over lmdb', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-vfs-'))
  const { clock, tick } = tickingClock(hurriedClock)
  const engine = await openLmdb({ folder, clock })
  return drive(await openRig({ clock, vfs, engine }), tick, () => rmSync(folder, { recursive: true, force: true }))
})
