/** What a plain user does: mounts through fusermount3, works, unmounts. Run by user.test.ts as nobody; prints what happened. */
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Channel, mountFuse, openSession, unmount } from '../../src/fuse/index.js'
import { coreHold, readMounts, systemClock, topMountAt } from '../../src/sys/index.js'
import { MemoryVfs } from './memory-vfs.js'
import { sh } from './mounted.js'

const dir = mkdtempSync(path.join(tmpdir(), 'ogee-user-'))
const vfs = new MemoryVfs()
vfs.inodes.get(1)!.uid = process.getuid!()
const options = { source: 'me, my\\self', allowOther: false, defaultPermissions: true, flags: ['nodev', 'noatime', 'relatime'] }
const said = (e: unknown): string => (e instanceof Error ? e.message : String(e))
const seen: Record<string, unknown> = { uid: process.getuid!() }

seen.refused = await mountFuse('/proc', options).catch(said)
const hold = coreHold({ mode: 'auto', clock: systemClock })
const fd = await mountFuse(dir, options)
const connection = new Channel({ clock: systemClock, hold }).serve(fd, (sink) => openSession({ vfs, clock: systemClock,
  shown: { attrValidMs: 0, entryValidMs: 0, uid: undefined, gid: undefined, umask: undefined }, negativeValidMs: 0,
  requestTimeoutMs: Infinity, interrupts: true, opens: true, writebackCache: false, maxBackground: 64 }, sink))
const shown = topMountAt(readMounts(), dir)
Object.assign(seen, { type: shown?.type, source: shown?.source, options: shown?.options, hold: hold.mode })
seen.read = await sh(`echo text > ${dir}/f; cat ${dir}/f`)
const using = sh(`exec 3<${dir}/f; sleep 0.5`)
await sh('sleep 0.2')
seen.busy = await unmount(dir).catch(said)
await using
await unmount(dir)
await connection.done
seen.left = topMountAt(readMounts(), dir) ?? null
rmdirSync(dir)
process.stdout.write(JSON.stringify(seen))
