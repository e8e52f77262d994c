/** Opens a pool while ever fewer descriptors are left: a program of its own, for its limit, and since LMDB's library may crash it. usage: crowded.ts FOLDER */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { EngineError, openLmdb } from '../../src/engine/index.js'
import { manualClock } from '../../src/sys/index.js'

const top = process.argv[2]
const warm = `${top}/warm`
mkdirSync(warm)
await (await openLmdb({ folder: warm, logBytes: 256 * 1024, clock: manualClock() })).close() // what is loaded once is loaded

const taken: number[] = []
try {
  for (;;) taken.push(openSync('/dev/null', 'r'))
} catch {
  // none is left
}
let opened = 0
let refused = 0
for (let free = 0; free < 40; free++) {
  const folder = `${top}/p${free}`
  mkdirSync(folder)
  try {
    await (await openLmdb({ folder, logBytes: 256 * 1024, clock: manualClock() })).close()
    opened++
  } catch (e) {
    const isTold = e instanceof EngineError || (e instanceof Error && 'code' in e && e.code === 'EMFILE') || /EMFILE|[Tt]oo many/.test(String(e))
    if (!isTold) throw e
    refused++
  }
  closeSync(taken.pop()!)
}
console.log(JSON.stringify({ opened, refused }))
