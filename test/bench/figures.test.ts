/** Statistics and goals: medians, ratios that mean the same for times and rates, verdicts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { betterOf, figure, judge, median, short, timeRatio, type Goal } from '../../bench/figures.js'

const values = fc.array(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 30 })

test('a median has half of the samples on each side, in whatever order they came', () =>
  fc.assert(fc.property(values, (samples) => {
    const m = median(samples)
    assert.ok(samples.filter((v) => v <= m).length * 2 >= samples.length)
    assert.ok(samples.filter((v) => v >= m).length * 2 >= samples.length)
    assert.equal(median([...samples].reverse()), m)
  })))

test('a figure keeps every sample, and its median lies in its spread', () =>
  fc.assert(fc.property(values, (samples) => {
    const f = figure(samples)
    assert.deepEqual(f.samples, samples)
    assert.ok(f.min <= f.median && f.median <= f.max)
    assert.ok(samples.includes(f.min) && samples.includes(f.max))
  })))

test('the median of nothing is no number', () => assert.ok(Number.isNaN(median([]))))

test('a time ratio says the same whether a work is told as a time or as a rate', () =>
  fc.assert(fc.property(values, values, (a, b) => {
    const rate = (samples: readonly number[]) => figure([1 / median(samples)])
    const asTime = timeRatio(figure(a), figure(b), 'less')
    const asRate = timeRatio(rate(a), rate(b), 'more')
    assert.ok(Math.abs(asTime / asRate - 1) < 1e-9, `${asTime} ${asRate}`)
  })))

const at = (value: number) => figure([value])
const verdicts: readonly { title: string; goal: Goal; better: 'less' | 'more'; ours?: number; pt?: number; disk?: number; reached?: number; met?: boolean }[] = [
  { title: 'a time within its goal', goal: { time: 0.4, of: 'pt' }, better: 'less', ours: 30, pt: 100, reached: 0.3, met: true },
  { title: 'a time at its goal', goal: { time: 0.5, of: 'pt' }, better: 'less', ours: 50, pt: 100, reached: 0.5, met: true },
  { title: 'a time beyond its goal', goal: { time: 0.4, of: 'pt' }, better: 'less', ours: 50, pt: 100, reached: 0.5, met: false },
  { title: 'a rate goal of a work told as a time', goal: { rate: 0.5, of: 'disk' }, better: 'less', ours: 40, disk: 10, reached: 0.25, met: false },
  { title: 'a rate goal of a work told as a rate', goal: { rate: 2, of: 'pt' }, better: 'more', ours: 300, pt: 100, reached: 3, met: true },
  { title: 'a time goal of a work told as a rate', goal: { time: 1.3, of: 'disk' }, better: 'more', ours: 50, disk: 100, reached: 2, met: false },
  { title: 'a bound of our own', goal: { atMost: 300 }, better: 'less', ours: 299, reached: 299, met: true },
  { title: 'a bound that is passed', goal: { atMost: 300 }, better: 'less', ours: 301, reached: 301, met: false },
  { title: 'nobody to compare with', goal: { time: 0.4, of: 'pt' }, better: 'less', ours: 30 },
  { title: 'nothing of ours', goal: { time: 0.4, of: 'pt' }, better: 'less', pt: 30 },
]
for (const { title, goal, better, ours, pt, disk, reached, met } of verdicts)
  test(`goal: ${title}`, () => {
    const of = (value: number | undefined) => (value === undefined ? undefined : at(value))
    const verdict = judge(goal, better, { ours: of(ours), pt: of(pt), disk: of(disk) })
    assert.equal(verdict.reached, reached)
    assert.equal(verdict.met, met)
  })

test('the better of two: by median, in the direction of the work, whichever is there', () => {
  const [slow, fast, absent]: { name: string; figure?: ReturnType<typeof at> }[] = [{ name: 'slow', figure: at(9) }, { name: 'fast', figure: at(3) }, { name: 'absent' }]
  assert.equal(betterOf(slow, fast, 'less'), fast)
  assert.equal(betterOf(slow, fast, 'more'), slow)
  assert.equal(betterOf(absent, slow, 'less'), slow)
  assert.equal(betterOf(fast, absent, 'more'), fast)
  assert.equal(betterOf(absent, undefined, 'less'), absent)
})

test('three digits are enough, and small numbers keep theirs', () => {
  const words = [[0, '0'], [0.001234, '0.00123'], [0.0396, '0.0396'], [1.234, '1.23'], [12.34, '12.3'], [123.4, '123'], [123456.7, '123457'], [NaN, '-']] as const
  for (const [value, word] of words) assert.equal(short(value), word)
})
