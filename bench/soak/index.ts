/**
 * The long form of the tests that take things away: npx tsx bench/soak/index.ts simulated|mounted|kill [--count N] [--seed N]
 *   simulated  whole pools on a simulated machine, three generations each, cut (test/powercut/history.test.ts)
 *   mounted    pools on a disk of our own in another process, cut (test/powercut/mounted.test.ts)
 *   kill       kill -9 of real daemons under git, SQLite, PostgreSQL and fio (test/programs/killing.ts)
 * Stops at the first broken promise and prints its seed; prints what was tried in any case. Exit 1 if something was broken.
 */
import { parseArgs } from 'node:util'
import { cutMounted } from '../../test/powercut/mounted.js'
import { cutSimulated } from '../../test/powercut/simulation.js'
import { killPrograms } from '../../test/programs/killing.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { count: { type: 'string' }, seed: { type: 'string' } } })
const [what] = positionals
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
  const count = Number(values.count ?? (what === 'kill' ? 500 : 5000))
  const done = (): number => (total['cuts'] ?? 0) + (total['deaths'] ?? 0)
  if (what === 'kill') return killPrograms({ count, seed, report: (text) => void console.log(text) })
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

if (what !== 'simulated' && what !== 'mounted' && what !== 'kill') {
  console.error('usage: npx tsx bench/soak/index.ts simulated|mounted|kill [--count N] [--seed N]')
  process.exit(2)
}
const wrong = await soak()
for (const text of wrong) console.error(text)
process.exit(wrong.length === 0 ? 0 : 1)
