/**
 * `npm run bench`: builds the peer and the load generators, runs the works, prints the table.
 *   - This process hosts no daemon. What it mounted is unmounted, and its folder removed, however it ends.
 *   - Exit 0 when there is a table, whatever it says; 1 when there is none; 2 for wrong words.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync, chmodSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { worseThan } from './guard.js'
import { machine } from './machine.js'
import { choose, parseOptions } from './options.js'
import { alsoPeer, buildPassthrough, cephPeer, diskPeer, nbdPeers, ogeePeer, passthroughPeer, type Peer } from './peers/index.js'
import { makeReport, readReport, writeReport } from './report.js'
import { openRun, type WorkResult } from './rounds.js'
import { tableOf } from './table.js'
import { buildLoads, makeTools } from './tools.js'
import { works } from './works/index.js'

const say = (line: string) => void process.stderr.write(`${line}\n`)
const deadlineMs = { quick: 120_000, normal: 300_000, full: 3_600_000 }

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  const chosen = choose(works, options.only, options.skip).filter(({ name, long }) => long !== true || options.scale === 'full' || options.only.includes(name))
  if (options.list) return works.forEach(({ name, title }) => console.log(`${name.padEnd(20)} ${title}`))
  if (process.getuid?.() !== 0) throw new Error('the benchmark mounts and drops caches: run it as root')
  const earlier = options.against === undefined ? undefined : readReport(options.against)

  const top = mkdtempSync(path.join(options.dir ?? os.tmpdir(), 'ogee-bench-'))
  chmodSync(top, 0o755) // PostgreSQL's own user passes through
  const scratch = `${top}/scratch`
  mkdirSync(scratch)
  const rounds = options.rounds ?? (options.scale === 'quick' ? 3 : 5)
  const tools = makeTools({ programs: await buildLoads(top), scratch, scale: options.scale, deadlineMs: deadlineMs[options.scale] })
  const passthrough = buildPassthrough(top)
  passthrough.catch((error: unknown) => say(String(error)))
  const all: readonly Peer[] = [
    ogeePeer(options.mountOptions), passthroughPeer(passthrough, 'many'), passthroughPeer(passthrough, 'one'), diskPeer, ...nbdPeers, cephPeer,
    ...options.also.map(({ name, dir }) => alsoPeer(name, dir)),
  ]
  const peers = all.filter(({ name, kind }) => kind === 'also' || (options.peers?.includes(name) ?? true))

  const bench = openRun({ top, peers, rounds, calls: options.calls, deadlineMs: deadlineMs[options.scale], say }, tools)
  const about = { machine: await machine(top, fileURLToPath(new URL('..', import.meta.url))), scale: options.scale, rounds }
  const results: WorkResult[] = []
  let stopping = false
  const stop = () => {
    if (stopping) return
    stopping = true
    say('stopping after this work; once more to leave at once')
    process.once('SIGINT', () => process.exit(1))
  }
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    for (const work of chosen) {
      if (stopping) break
      results.push(await bench.runWork(work))
      if (options.json !== undefined) writeReport(options.json, makeReport(about, results)) // what is measured is kept
    }
  } finally {
    await bench.close()
    rmSync(top, { recursive: true, force: true })
  }
  const report = makeReport(about, results)
  console.log(tableOf(report))
  if (earlier !== undefined) console.log(`\n${worseThan(earlier, report).join('\n')}`)
}

main().then(() => process.exit(0), (error: unknown) => {
  writeFileSync(2, `bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
