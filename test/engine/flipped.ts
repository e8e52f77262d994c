/**
 * In a process of its own, as LMDB may take it down: flips one bit after the other of a copy of an engine's files and says what an
 * walk of the pages says, and what an opening, every get, a scan both ways and a writer see. A line of JSON before and after each.
 *   node --import tsx test/engine/flipped.ts FOLDER FILE SEED FROM COUNT [BYTES]      (of the file's beginning)
 *   node --import tsx test/engine/flipped.ts FOLDER FILE first FROM COUNT             (the bits of LMDB's two first pages, each once, spread)
 */
import { closeSync, cpSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DamagedError, EngineError, inspectPages, openLmdb } from '../../src/engine/index.js'
import { manualClock, PosixError, rootContext as ctx, seededRandom } from '../../src/sys/index.js'

const [folder, file, seed, from, count, within] = process.argv.slice(2)
const rows = JSON.parse(readFileSync(join(folder, 'rows.json'), 'latin1')) as Record<string, string>
const keys = Object.keys(rows).sort()
/** Of a meta page: its header and what LMDB reads of it. */
const FIRST_BYTES = 168
const FIRST_BITS = 2 * FIRST_BYTES * 8
const FIRST_STEP = 1009 // no divisor of it
const PAGE_BYTES = 4096
const text = (b: Uint8Array): string => Buffer.from(b).latin1Slice()
const say = (what: object): void => void writeSync(1, `${JSON.stringify(what)}\n`)
const isTold = (e: unknown): boolean => e instanceof EngineError || e instanceof DamagedError || e instanceof PosixError

/** 'right', 'error', or what is wrong. */
async function look(copy: string): Promise<string> {
  let told = 0
  const wrong: string[] = []
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (e) {
      if (!isTold(e)) wrong.push(`unexpected ${String(e)}`)
      told++
    }
  }
  await attempt(async () => {
    const engine = await openLmdb({ folder: copy, clock: manualClock(), bootId: 'two' })
    const reader = engine.reader(ctx)
    for (const key of keys) {
      await attempt(async () => {
        const row = await reader.get(key)
        if (row === undefined) wrong.push('get: missing')
        else if (text(row.bytes) !== rows[key]) wrong.push('get: wrong')
      })
    }
    for (const reverse of [false, true]) {
      await attempt(async () => {
        const found = (await reader.scan({ from: 'a', to: 'z', limit: Infinity, reverse })).map((r) => `${r.key}=${text(r.row.bytes)}`)
        if (reverse) found.reverse()
        if (found.length < keys.length) wrong.push('scan: missing')
        else if (found.join('\n') !== keys.map((k) => `${k}=${rows[k]}`).join('\n')) wrong.push('scan: wrong')
      })
    }
    await attempt(async () => {
      for (let i = 0; i < 20; i++) await engine.transact(ctx, (tx) => tx.put(keys[(i * 97) % keys.length], Buffer.from('new')))
      await engine.checkpoint()
    })
    await attempt(() => engine.close())
  })
  return wrong.length > 0 ? `${[...new Set(wrong)].join(', ')}${told > 0 ? ', and errors' : ''}` : told > 0 ? 'error' : 'right'
}

for (let n = Number(from); n < Number(count); n++) {
  const random = seededRandom(Number(seed === 'first' ? 0 : seed) * 100_000 + n)
  const copy = `${folder}-${n}`
  cpSync(join(folder, 'pool'), copy, { recursive: true })
  const fd = openSync(join(copy, file), 'r+')
  const byte = Buffer.alloc(1)
  const size = within === undefined ? fstatSync(fd).size : Number(within)
  let at = random.uint32() % size
  const bit = (n * FIRST_STEP) % FIRST_BITS
  if (seed === 'first') at = (bit >> 3) % FIRST_BYTES + (bit >> 3 < FIRST_BYTES ? 0 : PAGE_BYTES)
  else for (;; at = random.uint32() % size) { // where there is something
    readSync(fd, byte, 0, 1, at)
    if (byte[0] !== 0) break
  }
  const page = Buffer.alloc(20)
  readSync(fd, page, 0, 20, at - (at % 4096))
  if (seed === 'first') readSync(fd, byte, 0, 1, at)
  byte[0] ^= 1 << (seed === 'first' ? bit & 7 : random.uint32() % 8)
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
  const walk = inspectPages(copy)
  say({ n, at, inPage: at % 4096, flags: page.readUInt16LE(18), walk })
  say({ n, is: await look(copy) })
  rmSync(copy, { recursive: true })
  if (walk.length > 0 && seed !== 'first') break // LMDB may have harmed this process
}
