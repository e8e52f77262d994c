/** kill -9 of the daemon while writers work: after a new mount everything that was answered is there, synced or not. */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { checkJournal, readJournal } from './journal.js'
import { programTest, type Mount } from './mount.js'
import { run, start } from './run.js'

const writer = fileURLToPath(new URL('./writer.py', import.meta.url))
const rounds = Number(process.env['OGEE_KILLS'] ?? 6)

programTest('kill -9: two writers, every answer is kept', { timeoutMs: 60_000 + rounds * 20_000, ogeeOnly: true }, async ({ dir, scratch, mount }, t) => {
  const daemon = mount as Mount
  let compared = 0
  for (let round = 0; round < rounds; round++) {
    const tops = [0, 1].map((n) => path.join(dir, `round${round}-${n}`))
    const journals = tops.map((_, n) => path.join(scratch, `round${round}-${n}`))
    tops.forEach((top) => mkdirSync(top))
    const writers = tops.map((top, n) => start('python3', [writer, top, journals[n], String(round * 10 + n)], { timeoutMs: 30_000 }))
    for (const journal of journals) while (!existsSync(journal) || readJournal(journal).answered.length === 0) await sleep(5)
    await sleep([300, 1500, 0, 3000, 800, 50][round % 6])
    await daemon.kill()
    await Promise.all(writers.map(({ done }) => done))
    await daemon.mount()
    for (const [n, top] of tops.entries()) compared += checkJournal(top, journals[n])
  }
  // Earlier rounds' files survive later deaths too.
  for (let round = 0; round < rounds; round++)
    for (const n of [0, 1]) checkJournal(path.join(dir, `round${round}-${n}`), path.join(scratch, `round${round}-${n}`))
  await daemon.umount()
  await daemon.mount()
  for (let round = 0; round < rounds; round++)
    for (const n of [0, 1]) checkJournal(path.join(dir, `round${round}-${n}`), path.join(scratch, `round${round}-${n}`))
  t.diagnostic(`${rounds} kills, ${compared} answered changes compared`)
})

programTest('kill -9: a file that was unlinked while open gives its space back after the next mount', { ogeeOnly: true }, async ({ dir, mount }) => {
  const daemon = mount as Mount
  const used = async () => Number((await run('df', ['--output=used', '-B1', dir])).stdout.split('\n')[1])
  const before = await used()
  const holder = start('python3', ['-c', [
    'import os, sys, time',
    `fd = os.open(${JSON.stringify(path.join(dir, 'held'))}, os.O_RDWR | os.O_CREAT)`,
    'for n in range(64): os.write(fd, os.urandom(1 << 20))',
    `os.unlink(${JSON.stringify(path.join(dir, 'held'))})`,
    `open(${JSON.stringify(path.join(dir, 'ready'))}, "w").close()`,
    'time.sleep(60)',
  ].join('\n')])
  while ((await run('ls', [dir])).stdout.trim() !== 'ready') await sleep(50)
  await daemon.kill()
  holder.kill()
  await holder.done.catch(() => undefined)
  await daemon.mount()
  for (let waited = 0; (await used()) - before > 16 << 20; waited += 200) {
    assert.ok(waited < 20_000, `the space of an unlinked file comes back within 20 s: ${before} bytes used before, ${await used()} now`)
    await sleep(200)
  }
})

programTest('the journal\'s checker finds what is missing and what is too much', {}, async ({ dir, scratch }) => {
  const top = path.join(dir, 'top')
  const journal = path.join(scratch, 'journal')
  mkdirSync(top)
  const working = start('python3', [writer, top, journal, '77'], { timeoutMs: 30_000 })
  while (!existsSync(journal) || readJournal(journal).answered.length <= 20 || !readdirSync(top).some((name) => /^[fwr]77-/.test(name))) await sleep(20)
  working.kill()
  await working.done.catch(() => undefined)
  assert.ok(checkJournal(top, journal) > 20)
  // Not the file that was being changed: that one may be in either state.
  const underway = readJournal(journal).underway?.join(' ') ?? ''
  const names = readdirSync(top, { recursive: true, encoding: 'utf8' })
  const victim = names.find((name) => /(^|\/)[fwr]77-/.test(name) && !underway.includes(name)) as string
  renameSync(path.join(top, victim), path.join(dir, 'taken'))
  assert.throws(() => checkJournal(top, journal), /promised file of .* there is nothing/)
  renameSync(path.join(dir, 'taken'), path.join(top, victim))
  checkJournal(top, journal)
  appendFileSync(path.join(top, victim), 'x')
  assert.throws(() => checkJournal(top, journal), /bytes promised/)
})
