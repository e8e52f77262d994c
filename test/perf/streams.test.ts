/**
 * What streams of small writes and many small files cost, in counts: each byte is written once when many come, commits and syncs
 * do not grow with the bytes. The clock stands still, so that what is counted is what amounts make it do, not age.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import * as r from './rig.js'
import type { Counts, Rig } from './rig.js'

const MIB = 1024 * 1024

describe('many small writes cost', () => {
  let rig: Rig
  let dir = 0
  before(async () => {
    rig = await r.openRig()
    dir = (await rig.ask(r.MKDIR, 1, r.mkdirBody('directory'))).node
  })
  after(() => rig.close())

  const make = async (name: string): Promise<number> => (await rig.ask(r.MKNOD, dir, r.mknodBody(name))).node
  async function write(node: number, offset: number, size: number): Promise<void> {
    assert.equal((await rig.ask(r.WRITE, node, r.writeBody(offset, size))).error, 0)
  }
  const perMib = (counts: Counts, mib: number): string =>
    `per MiB: ${(counts.commits / mib).toFixed(1)} commits, ${Math.round(counts.logBytes / mib / 1024)} KiB of log, ${(counts.spaceWrites / mib).toFixed(1)} writes of the space, ${((counts.logSyncs + counts.spaceSyncs) / mib).toFixed(2)} syncs`

  test('4 KiB appends, from 1 MiB on: a commit of 450 bytes and a write of the space each, no sync', async (t) => {
    const node = await make('stream')
    for (let at = 0; at < 2 * MIB; at += 4096) await write(node, at, 4096)
    const counts = await rig.count(async () => {
      for (let at = 2 * MIB; at < 18 * MIB; at += 4096) await write(node, at, 4096)
    })
    t.diagnostic(perMib(counts, 16))
    assert.ok(counts.commits <= 16 * 256 + 8, `${counts.commits} commits: one a write, and block groups`)
    assert.ok(counts.logBytes <= 16 * 256 * 450, `${counts.logBytes} bytes of log`)
    assert.ok(counts.spaceWrites <= 16 * 256 + 8)
    assert.equal(counts.logSyncs + counts.spaceSyncs, 0)
    const synced = await rig.count(async () => void (await rig.ask(r.FSYNC, node, r.fsyncBody)))
    assert.ok(synced.spaceSyncs <= 1 && synced.logSyncs === 1 && synced.commits <= 2, JSON.stringify(synced))
  })

  test('4 KiB over what is there, in any order, from 1 MiB on, within a tick of the clock: a write of the space each, one commit', async (t) => {
    const node = await make('random')
    for (let at = 0; at < 8 * MIB; at += MIB) await write(node, at, 128 * 1024 * 8)
    await rig.ask(r.FSYNC, node, r.fsyncBody)
    const at = (i: number): number => (i * 797 % 2048) * 4096
    for (let i = 0; i < 257; i++) await write(node, at(i), 4096)
    const counts = await rig.count(async () => {
      for (let i = 257; i < 2048; i++) await write(node, at(i), 4096)
    })
    t.diagnostic(perMib(counts, 7))
    assert.ok(counts.commits <= 1, `${counts.commits} commits`)
    assert.ok(counts.logBytes <= 350, `${counts.logBytes} bytes of log`)
    assert.equal(counts.spaceWrites, 1791)
    assert.equal(counts.logSyncs + counts.spaceSyncs, 0)
    const synced = await rig.count(async () => void (await rig.ask(r.FSYNC, node, r.fsyncBody)))
    assert.ok(synced.spaceSyncs === 1 && synced.logSyncs === 1 && synced.commits <= 1, JSON.stringify(synced))
    const next = await rig.count(() => write(node, at(300), 4096)) // after so many the next ones are expected to be many
    assert.deepEqual([next.spaceWrites, next.logWrites], [1, 0])
    await rig.ask(r.FSYNC, node, r.fsyncBody)
    const few = await rig.count(() => write(node, at(301), 4096)) // they were not
    assert.deepEqual([few.spaceWrites, few.logWrites], [0, 1])
  })

  test('4 KiB and an fsync, again and again: the log only', async () => {
    const node = await make('journal')
    const counts = await rig.count(async () => {
      for (let i = 0; i < 600; i++) {
        await write(node, i * 4096, 4096)
        await rig.ask(r.FSYNC, node, r.fsyncBody)
      }
    })
    assert.equal(counts.spaceSyncs + counts.spaceWrites, 0)
    assert.equal(counts.logSyncs, 600)
  })

  test('2,000 files of 12 KiB: at most 3.2 commits a file, a sync for every 2 MiB', async (t) => {
    const counts = await rig.count(async () => {
      for (let i = 0; i < 2000; i++) await write(await make(`file${i}`), 0, 12 * 1024)
    })
    const mib = 2000 * 12 / 1024
    t.diagnostic(perMib(counts, mib))
    assert.ok(counts.commits <= 2000 * 3.2, `${counts.commits} commits`)
    assert.ok(counts.spaceSyncs + counts.logSyncs <= 12, `${counts.spaceSyncs} + ${counts.logSyncs} syncs`)
  })
})
