import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as sys from '../../src/sys/index.js'

const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])

test('poll sees what is readable, in the tick and off the loop', async () => {
  const fd = sys.check(sys.eventfd(), 'eventfd')
  assert.equal(sys.pollOne(fd, sys.POLLIN, 0), 0)
  const later = sys.pollOneOffLoop(fd, sys.POLLIN, 5000)
  assert.equal(sys.write(fd, one, 0, 8), 8)
  assert.equal(sys.pollOne(fd, sys.POLLIN, 0), sys.POLLIN)
  assert.equal(await later, sys.POLLIN)
  sys.close(fd)
})

test('epoll answers the token of the descriptor', async () => {
  const ep = sys.check(sys.epollCreate(), 'epoll_create1')
  const fds = [sys.eventfd(), sys.eventfd()]
  fds.forEach((fd, i) => assert.equal(sys.epollControl(ep, sys.EPOLL_CTL_ADD, fd, sys.EPOLLIN, 70 + i), 0))
  const events = new sys.EpollEvents(4)
  assert.equal(sys.epollWait(ep, events, 0), 0)
  sys.write(fds[1], one, 0, 8)
  assert.equal(await sys.epollWaitOffLoop(ep, events, 5000), 1)
  assert.deepEqual([events.events(0), events.token(0)], [sys.EPOLLIN, 71])
  sys.write(fds[0], one, 0, 8)
  assert.equal(sys.epollWait(ep, events, 0), 2)
  assert.deepEqual([events.token(0), events.token(1)].sort(), [70, 71])
  assert.equal(sys.epollControl(ep, sys.EPOLL_CTL_ADD, fds[0], sys.EPOLLIN, 0), -sys.ERRNO.EEXIST)
  for (const fd of [...fds, ep]) sys.close(fd)
})

test('a watched descriptor wakes the loop, is silent while paused, and again when resumed', async () => {
  const fd = sys.check(sys.eventfd(), 'eventfd')
  let fired = 0
  let wake = (): void => {}
  const firedOnce = (): Promise<void> => new Promise((resolve) => { wake = resolve })
  const watch = sys.watchReadable(fd, () => {
    fired++
    watch.pause()
    setImmediate(wake)
  })
  let next = firedOnce()
  sys.write(fd, one, 0, 8)
  await next
  assert.equal(fired, 1)
  await new Promise((resolve) => setImmediate(resolve)) // still readable, but paused
  assert.equal(fired, 1)
  next = firedOnce()
  watch.resume()
  await next
  assert.equal(fired, 2)
  watch.close()
  sys.close(fd)
})

test('a descriptor travels through a socket', async () => {
  const pair = sys.socketPair()
  assert.ok(typeof pair !== 'number')
  const event = sys.eventfd()
  const arriving = sys.receiveFd(pair[0])
  assert.ok(sys.sendFd(pair[1], event) > 0)
  const copy = sys.check(await arriving, 'recvmsg')
  assert.notEqual(copy, event)
  sys.write(copy, one, 0, 8)
  assert.equal(sys.pollOne(event, sys.POLLIN, 0), sys.POLLIN)
  const hungUp = sys.receiveFd(pair[0])
  sys.close(pair[1])
  assert.equal(await hungUp, -sys.ERRNO.ENODATA)
  for (const fd of [pair[0], event, copy]) sys.close(fd)
})
