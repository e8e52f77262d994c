/** The command line's words, the choice of works, the works themselves as data, and what strace's summary says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choose, parseOptions } from '../../bench/options.js'
import { totalCalls } from '../../bench/usage.js'
import { works } from '../../bench/works/index.js'

test('words become options', () => {
  const o = parseOptions(['--only', 'stat*,create', '--rounds', '7', '--also', 'ceph=/mnt/a=b', '--also', 'nfs=/mnt/n', '--json', 'f', '--quick', '--calls'])
  assert.deepEqual(o.only, ['stat*', 'create'])
  assert.equal(o.rounds, 7)
  assert.deepEqual(o.also, [{ name: 'ceph', dir: '/mnt/a=b' }, { name: 'nfs', dir: '/mnt/n' }])
  assert.equal(o.scale, 'quick')
  assert.equal(o.calls, true)
  assert.equal(parseOptions([]).scale, 'normal')
})

test('works are chosen by name and by prefix; an unknown word is refused', () => {
  const all = ['stat-sync', 'stat-cached', 'create'].map((name) => ({ name }))
  const chosen = (only: string[], skip: string[] = []) => choose(all, only, skip).map(({ name }) => name)
  assert.deepEqual(chosen([]), ['stat-sync', 'stat-cached', 'create'])
  assert.deepEqual(chosen(['stat*']), ['stat-sync', 'stat-cached'])
  assert.deepEqual(chosen(['stat*'], ['stat-sync']), ['stat-cached'])
  assert.throws(() => chosen(['creat']), /no work named creat; --list/)
})

test('every work has a name of its own, a title, and goals whose peers take part', () => {
  assert.equal(new Set(works.map(({ name }) => name)).size, works.length)
  for (const { name, title, goals, peers } of works) {
    assert.match(name, /^[a-z][a-z0-9-]+$/)
    assert.ok(title.length > 4 && goals.length > 0, name)
    for (const goal of goals) if ('of' in goal) assert.ok(peers?.includes(goal.of === 'nbdkit' || goal.of === 'qemu' ? 'nbd' : goal.of) ?? true, `${name} is compared with ${goal.of}, which does not take part`)
  }
})

test('system calls are summed over the rows of strace -c, with and without errors', () => {
  const summary = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           2       300           read
 40.00    0.000400           4       100        12 writev
  0.00    0.000000           0         7           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           2       407        12 total
`
  assert.equal(totalCalls(summary), 407)
  assert.ok(Number.isNaN(totalCalls('')))
})
