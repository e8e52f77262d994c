import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as sys from '../../src/sys/index.js'

describe('system clock', () => {
  test('real time follows the kernel, never stepping back', () => {
    const t = { sec: 0, nsec: 0 }
    let last = 0
    for (let i = 0; i < 20000; i++) {
      sys.systemClock.realtime(t)
      assert.ok(t.nsec >= 0 && t.nsec < 1e9 && Number.isInteger(t.nsec))
      const us = (t.sec % 1e6) * 1e6 + t.nsec / 1000
      assert.ok(us >= last, `${us} after ${last}`)
      last = us
    }
    assert.ok(Math.abs(t.sec * 1000 + t.nsec / 1e6 - Date.now()) < 5)
  })

  test('sleep ends early when cancelled', async () => {
    const cancel = new sys.CancelSource()
    const sleeping = sys.systemClock.sleep(60_000, cancel)
    cancel.cancel()
    await sleeping
    await sys.systemClock.sleep(60_000, cancel) // cancelled before
    await sys.manualClock().sleep(1, cancel)
    assert.ok(sys.systemClock.monotonicUs() > 0)
  })
})

describe('manual clock', () => {
  test('timers fire in order of time, at their time, and can be taken back', () => {
    const clock = sys.manualClock()
    const log: string[] = []
    const note = (name: string) => () => log.push(`${name}@${clock.monotonicMs()}`)
    clock.after(30, note('c'))
    clock.after(10, note('a'))
    const every = clock.every(20, note('e'))
    clock.after(10, note('b'))
    const never = clock.after(15, note('never'))
    never.stop()
    clock.advance(50)
    every.stop()
    clock.advance(100)
    assert.deepEqual(log, ['a@10', 'b@10', 'e@20', 'c@30', 'e@40'])
    assert.equal(clock.pending, 0)
    assert.equal(clock.monotonicMs(), 150)
  })

  test('real time moves along and can be set, before 1970 too', () => {
    const clock = sys.manualClock(100)
    const t = { sec: 0, nsec: 0 }
    clock.advance(1500)
    clock.realtime(t)
    assert.deepEqual(t, { sec: 101, nsec: 500_000_000 })
    clock.setRealtime(-2, 999_999_999)
    clock.advance(1)
    clock.realtime(t)
    assert.deepEqual(t, { sec: -1, nsec: 999_999 })
  })

  test('sleep resolves when its time has come', async () => {
    const clock = sys.manualClock()
    let awake = false
    void clock.sleep(5).then(() => { awake = true })
    await clock.advanceAsync(4)
    assert.equal(awake, false)
    await clock.advanceAsync(1)
    assert.equal(awake, true)
  })
})

describe('core hold', () => {
  const device = () => {
    const d = { held: 0, opens: 0, refuse: false,
      open: () => { d.opens++; return d.refuse ? -sys.ERRNO.EACCES : (d.held++, 77) },
      close: (fd: number) => { assert.equal(fd, 77); d.held-- } }
    return d
  }

  test('held while busy, let go within 100 ms of quiet, taken again', () => {
    const clock = sys.manualClock()
    const d = device()
    const hold = sys.coreHold({ mode: 'auto', clock, device: d })
    assert.deepEqual([hold.inForce, d.held], [false, 0])
    for (let i = 0; i < 40; i++) {
      hold.busy()
      assert.equal(d.held, 1)
      clock.advance(7)
    }
    clock.advance(100)
    assert.deepEqual([hold.inForce, d.held, clock.pending], [false, 0, 0])
    hold.busy()
    assert.equal(d.held, 1)
    hold.close()
    hold.busy()
    assert.deepEqual([hold.inForce, d.held, clock.pending], [false, 0, 0])
  })

  test('auto is normal where the device is not ours; low says so; normal never opens', () => {
    const clock = sys.manualClock()
    const d = device()
    d.refuse = true
    const auto = sys.coreHold({ mode: 'auto', clock, device: d })
    auto.busy()
    assert.deepEqual([auto.mode, auto.inForce], ['normal', false])
    assert.throws(() => sys.coreHold({ mode: 'low', clock, device: d }), /cpu_dma_latency.*latency=auto/)
    const opens = d.opens
    sys.coreHold({ mode: 'normal', clock, device: d }).busy()
    assert.equal(d.opens, opens)
  })
})
