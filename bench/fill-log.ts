/**
 * Fills a pool's log as far as it goes and dies: `node --import tsx bench/fill-log.ts POOL names|small [--files N]`. The pool is not mounted.
 *   - No checkpoint comes to an end (as on a slow or full disk): the log takes commits until only its reserve is left.
 *   - names: empty files, the most rows a byte; small: files of 4 KiB, whose bytes ride in the log.
 *   - With --files it first makes so many empty files, with checkpoints as ever.
 */
import { parseArgs } from 'node:util'
import { systemIo } from '../src/engine/index.js'
import type { Engine } from '../src/engine/index.js'
import { openPool } from '../src/pool/index.js'
import { O_CREAT, O_RDWR, rootContext as ctx, systemClock, systemRandom } from '../src/sys/index.js'
import { ROOT_NODE } from '../src/vfs/index.js'

const PER_FOLDER = 50_000
const STUCK_MS = 500

const { values: options, positionals: [folder, kind] } = parseArgs({ allowPositionals: true, options: { files: { type: 'string', default: '0' } } })
let stuck = false
let engine: Engine | undefined
const pool = await openPool(folder, {
  clock: systemClock, random: systemRandom, note: () => undefined, vfs: {},
  seams: {
    logIo: { ...systemIo, step: () => (stuck ? new Promise(() => undefined) : Promise.resolve()) },
    opened: (floors) => { engine = floors.engine }
  }
})
const { vfs } = pool
const block = Buffer.alloc(4096, 0x61)
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function makeFiles(title: string, count: number, bytes: number): Promise<void> {
  let parent = ROOT_NODE
  for (let i = 0; i < count; i++) {
    if (i % PER_FOLDER === 0) parent = (await vfs.mkdir(ctx, ROOT_NODE, `${title}${i}`, 0o755, 0)).ino
    const { attr, handle } = await vfs.create(ctx, parent, `n${i}`, 0o644, 0, O_CREAT | O_RDWR)
    if (bytes > 0) await vfs.write(ctx, attr.ino, handle, 0, block, 0, bytes, { killSuidgid: false, append: false })
    await vfs.release(ctx, attr.ino, handle)
    vfs.forget(attr.ino)
    if (i % 64 === 0) await breathe()
  }
}

await makeFiles('before', Number(options.files), 0)
await vfs.syncAll(ctx)
await engine!.checkpoint()
stuck = true
let used = 0
void makeFiles(`more-${engine!.session}-`, Infinity, kind === 'small' ? block.length : 0)
for (let before = -1; used > before;) { // until nothing is taken any more
  before = used
  await systemClock.sleep(STUCK_MS)
  used = engine!.status().logUsedBytes
}
console.log(JSON.stringify({ logUsedBytes: used }))
process.kill(process.pid, 'SIGKILL')
