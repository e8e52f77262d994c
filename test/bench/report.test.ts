/** The table, the report file and the guard, on an invented run. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { figure } from '../../bench/figures.js'
import { worseThan } from '../../bench/guard.js'
import { makeReport, readReport, writeReport, type Report } from '../../bench/report.js'
import { verdictsOf, type PeerResult, type WorkResult } from '../../bench/rounds.js'
import { align, rowsOf, tableOf } from '../../bench/table.js'
import type { Work } from '../../bench/work.js'

const machine = { cpu: 'Invented 9000', cores: 2, memoryGib: 24, kernel: '6.18', node: 'v20.20.2', disk: 'ext4 on /dev/vda', ogee: 'abc1234', date: '2026-01-01 00:00 UTC' }
const stat: Work = {
  name: 'stat', title: 'statx', unit: 'us', better: 'less', goals: [{ time: 0.4, of: 'pt' }, { rate: 0.5, of: 'disk' }], round: () => Promise.reject(new Error('not run here')),
}
const read: Work = { ...stat, name: 'read', title: 'reads', unit: '1/s', better: 'more', goals: [{ rate: 2, of: 'pt' }] }

const of = (name: string, kind: PeerResult['kind'], ...samples: number[]): PeerResult => ({ name, kind, figure: figure(samples) })
const result = (work: Work, peers: PeerResult[]): WorkResult => ({ work, peers, verdicts: verdictsOf(work, peers) })
const report = (results: readonly WorkResult[]): Report => makeReport({ machine, scale: 'normal', rounds: 3 }, results)

const first = report([
  result(stat, [
    { ...of('ogee', 'ogee', 39, 38, 41), cpuUsPerOp: 21, anonMib: 80, callsPerOp: 2.1 },
    of('pt', 'pt', 124, 121, 132), { ...of('pt -s', 'pt', 104, 101, 112), cpuUsPerOp: 9 }, of('disk', 'disk', 1, 1.1, 0.9), of('other', 'also', 7, 7, 7),
  ]),
  result(read, [of('ogee', 'ogee', 140, 150, 160), { name: 'pt', kind: 'pt', skipped: 'no gcc here' }, of('pt -s', 'pt', 50, 50, 50)]),
  { work: { ...stat, name: 'pgbench' }, peers: [], verdicts: [], skipped: 'no PostgreSQL on this machine' },
])

test('a row: medians with spread, the better passthrough_ll, ratios of time, goals one below the other', () => {
  const [head, statRow, statMore, readRow] = rowsOf(first)
  assert.deepEqual(head, ['work', 'unit', 'ogee', 'pt', 'ext4', 'other', 'of pt', 'of disk', 'goal', 'reached', 'met', 'cpu us/op', 'pt cpu', 'anon MiB', 'calls/op', 'pt calls'])
  assert.deepEqual(statRow, ['stat', 'us', '39.0 (38.0-41.0)', '104 (101-112) s', '1.00 (0.900-1.10)', '7.00 (7.00-7.00)', '0.375x', '39.0x', "<= 0.4x pt's time", '0.375', 'yes', '21.0', '9.00', '80.0', '2.10', '-'])
  assert.deepEqual(statMore.slice(8, 11), [">= 0.5x disk's rate", '0.0256', 'NO'])
  assert.deepEqual(readRow.slice(0, 11), ['read', '1/s', '150 (140-160)', '50.0 (50.0-50.0) s', '-', '-', '0.333x', '-', ">= 2x pt's rate", '3.00', 'yes'])
  assert.ok(rowsOf(first).every((row) => row.length === head.length))
})

test('the page names the machine, counts the goals, and says who is missing and why', () => {
  const page = tableOf(first)
  for (const words of ['Invented 9000, 2 cores, 24 GiB; Linux 6.18; Node v20.20.2; ext4 on /dev/vda', 'Goals: 2 met, 1 not met, 0 without a figure.', 'read; pt: no gcc here', 'pgbench; no PostgreSQL on this machine'])
    assert.ok(page.includes(words), `${words}\n\n${page}`)
})

test('columns line up', () => {
  assert.equal(align([['a', '1', 'x'], ['long', '1000', '']], new Set([0])), 'a        1  x\nlong  1000')
})

test('a report file reads back as it was written, and anything else is refused with a sentence', () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'ogee-report-'))
  try {
    writeReport(`${dir}/a.json`, first)
    assert.deepEqual(readReport(`${dir}/a.json`), first)
    writeFileSync(`${dir}/b.json`, JSON.stringify({ ...first, format: 2 }))
    assert.throws(() => readReport(`${dir}/b.json`), /b\.json is no report of this benchmark \(format 1\)/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

const later = (ogeeStat: number, ogeeRead: number, diskStat = 1, ptStat = 104) => report([
  result(stat, [of('ogee', 'ogee', ogeeStat), of('pt -s', 'pt', ptStat), of('disk', 'disk', diskStat)]),
  result(read, [of('ogee', 'ogee', ogeeRead)]),
])
const none = '2 works compared with Ogee abc1234 of 2026-01-01 00:00 UTC: none is 10 % worse or more.'

test('the guard: 10 % worse in the direction of the work, beside the same peers of the same run', () => {
  assert.deepEqual(worseThan(first, later(42, 140)), [none])
  assert.deepEqual(worseThan(first, later(46.8, 120)), [
    'stat: 20 % slower, 39.0 -> 46.8 us (0.375x -> 0.450x of pt, 39.0x -> 46.8x of disk)',
    'read: 25 % slower, 150 -> 120 1/s',
    '2 works compared with Ogee abc1234 of 2026-01-01 00:00 UTC: 2 are 10 % worse or more.',
  ])
})

test('the guard: a slower day makes everybody slower; a faster one hides nothing', () => {
  assert.deepEqual(worseThan(first, later(78, 150, 2, 208)), [none])
  assert.match(worseThan(first, later(39, 150, 0.5, 52))[0], /^stat: 100 % slower, 39.0 -> 39.0 us/)
})

test('the guard: rounds that overlap are told', () => {
  const noisy = (...samples: number[]) => report([result(stat, [of('ogee', 'ogee', ...samples)])])
  assert.match(worseThan(noisy(10, 20, 30), noisy(15, 25, 35))[0], /25 % slower, 20.0 -> 25.0 us \(the rounds overlap\)/)
  assert.doesNotMatch(worseThan(noisy(10, 11, 12), noisy(15, 25, 35))[0], /overlap/)
})

test('the guard: a figure that is gone is worse; other sizes are not compared; another machine is named', () => {
  const gone = report([result(stat, [{ name: 'ogee', kind: 'ogee', skipped: 'does not mount' }])])
  assert.match(worseThan(first, gone).join('\n'), /stat: has no figure now\n0 works .* 1 is 10 % worse/)
  assert.deepEqual(worseThan(first, { ...later(1, 1), scale: 'quick' }).length, 1)
  assert.match(worseThan(first, { ...later(39, 150), machine: { ...machine, cores: 64 } })[0], /Another machine: cores was 2, is 64/)
})
