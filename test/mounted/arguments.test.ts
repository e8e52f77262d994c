/** The program itself, given any words: exit codes as documented, sentences on stderr, never a stack trace, a signal or a hang. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { words } from '../cli/words.js'
import { ogeePath, run } from './place.js'

const CALLS = 40
const CODES = [0, 1, 2]
const FSCK_CODES = [0, 1, 4, 5, 8, 16]
const CWD = '/proc' // where nothing can be made

test('any words', { timeout: 120_000 }, async () => {
  const seed = process.env.OGEE_SEED === undefined ? {} : { seed: Number(process.env.OGEE_SEED) }
  await fc.assert(fc.asyncProperty(words, async (args) => {
    const { code, out, err } = await run(ogeePath, args, { cwd: CWD })
    assert.ok((args[0] === 'fsck' ? FSCK_CODES : CODES).includes(code ?? -1), `exit ${code}: ${err}`)
    const told = err.slice(err.lastIndexOf('\nogee: ') + 1) // help may come first
    for (const line of (err.startsWith('Usage: ') ? told : err).split('\n').slice(0, -1)) assert.match(line, /^ogee: \S.*[.?)`]$/)
    assert.doesNotMatch(err, /unexpected|TypeError|RangeError|\n +at /)
    if (code !== 0) assert.notEqual(err + out, '', 'who fails says why')
  }), { numRuns: CALLS, endOnFailure: true, ...seed })
})
