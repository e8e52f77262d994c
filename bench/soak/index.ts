/**
 * The long form of the tests that take things away, and of programs that try everything:
 * npx tsx bench/soak/index.ts simulated|mounted|kill|flips|fsstress|fsx [--count N] [--seed N] [--program FILE] [--sets NAMES]
 *   simulated  whole pools on a simulated machine, three generations each, cut (test/powercut/history.test.ts)
 *   mounted    pools on a disk of our own in another process, cut (test/powercut/mounted.test.ts)
 *   kill       kill -9 of real daemons under git, SQLite, PostgreSQL and fio (test/programs/killing.ts)
 *   flips      one bit of a whole pool flipped: mounted, checked, repaired, mounted again (test/pool/flips.ts)
 *   fsstress   kill -9 of a real daemon under fsstress (--program) of xfstests (fsstress.ts)
 *   fsx        fsx (--program) of xfstests, --count operations (100,000) with each of 3 seeds for each set of options (fsx.ts)
 * Stops at the first broken promise and prints its seed; prints what was tried in any case. Exit 1 if something was broken.
 */
import { parseArgs } from 'node:util'
import { flipPools } from '../../test/pool/flips.js'
import { cutMounted } from '../../test/powercut/mounted.js'
import { cutSimulated } from '../../test/powercut/simulation.js'
import { killPrograms } from '../../test/programs/killing.js'
import { killFsstress } from './fsstress.js'
import { FSX_SETS, runFsx } from './fsx.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: {
  count: { type: 'string' }, seed: { type: 'string' }, program: { type: 'string' }, sets: { type: 'string' }
} })
const [what] = positionals
const KINDS = ['simulated', 'mounted', 'kill', 'flips', 'fsstress', 'fsx']
const COUNTS: Readonly<Record<string, number>> = { kill: 500, flips: 400, fsstress: 200, fsx: 100_000 }
const seed = Number(values.seed ?? 1)
const SECONDS = 8
const CUTS_OF_A_RECORDING = 250
const CUTS_OF_A_GENERATION = 20

function addUp(into: Record<string, number>, from: object): void {
  for (const [name, value] of Object.entries(from)) {
    if (typeof value === 'number') into[name] = (into[name] ?? 0) + value
    else if (typeof value === 'object' && value !== null) addUp(into, value)
  }
}

async function soak(): Promise<readonly string[]> {
  const total: Record<string, number> = {}
  let wrong: readonly string[] = []
  const count = Number(values.count ?? COUNTS[what] ?? 5000)
  const report = (text: string): void => void console.log(text)
  const done = (): number => (total['cuts'] ?? 0) + (total['deaths'] ?? 0)
  if (what === 'flips') {
    const flipped = await flipPools({ count, seed, report })
    console.log(JSON.stringify(flipped.tried))
    return flipped.wrong
  }
  if (what === 'kill') return killPrograms({ count, seed, report })
  if (what === 'fsstress') return killFsstress({ program: values.program!, count, seed, report })
  if (what === 'fsx') {
    const sets = values.sets === undefined ? FSX_SETS : FSX_SETS.filter((name) => values.sets!.split(',').includes(name))
    return runFsx({ program: values.program!, operations: count, seeds: [seed, seed + 1, seed + 2], sets, report })
  }
  for (let n = seed; done() < count && wrong.length === 0; n++) {
    const ran = what === 'mounted'
      ? await cutMounted({ cuts: CUTS_OF_A_RECORDING, seconds: SECONDS, seed: n, report: () => undefined })
      : await cutSimulated({ seeds: [n], cuts: CUTS_OF_A_GENERATION, operations: 250, generations: 2 })
    addUp(total, ran.tried)
    wrong = ran.wrong.map((text) => `seed ${n}: ${text}`)
    if (n % 10 === 0) console.log(`${done()} of ${count}`)
  }
  console.log(JSON.stringify(total))
  return wrong
}

const needsProgram = what === 'fsstress' || what === 'fsx'
if (!KINDS.includes(what) || (needsProgram && values.program === undefined)) {
  console.error(`usage: npx tsx bench/soak/index.ts ${KINDS.join('|')} [--count N] [--seed N] [--program FILE] [--sets ${FSX_SETS.join(',')}]`)
  process.exit(2)
}
const wrong = await soak()
for (const text of wrong) console.error(text)
process.exit(wrong.length === 0 ? 0 : 1)
