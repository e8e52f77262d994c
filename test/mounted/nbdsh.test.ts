/** The protocol's corners on a real socket, by libnbd's shell: what is negotiated, what is refused with which errno, flags, many requests at once. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, ok, run } from './place.js'

const CORNERS = `
def says(f):
    try: return f() or 'done'
    except nbd.Error as e: return e.errno or e.string
h.set_strict_mode(0)
size = h.get_size()
print(h.get_protocol(), h.get_structured_replies_negotiated(), h.can_meta_context('base:allocation'), h.can_df(), h.can_cache(), h.can_fua(), h.can_zero(), h.can_fast_zero(), h.can_trim(), h.can_multi_conn(), h.is_rotational(), h.is_read_only())
print('behind the end', *(says(f) for f in (lambda: h.pread(4096, size - 512), lambda: h.pwrite(b'x' * 4096, size - 512), lambda: h.zero(4096, size), lambda: h.trim(4096, size), lambda: h.cache(4096, size), lambda: h.pread(512, 2 ** 62))))
print('flags that nobody knows', says(lambda: h.pread(512, 0, 1 << 7)), says(lambda: h.flush(1 << 7)))
print(says(lambda: h.pwrite(b'odd' * 333, 12345, nbd.CMD_FLAG_FUA)), bytes(h.pread(3, 12345)), bytes(h.pread(5, 12342)), bytes(h.pread(4, size - 4)))
print(says(lambda: h.zero(8192, 1 << 20, nbd.CMD_FLAG_NO_HOLE)), says(lambda: h.zero(8192, 2 << 20, nbd.CMD_FLAG_FAST_ZERO)), says(lambda: h.trim(777, 12300)), bytes(h.pread(3, 12345)), says(lambda: h.cache(65536, 0)))
def map(flags, length=4 << 20):
    found = []
    h.block_status(length, 0, lambda context, offset, entries, error: found.extend(entries) or 0, flags)
    return [(found[i], found[i + 1]) for i in range(0, len(found), 2)]
print(len(map(nbd.CMD_FLAG_REQ_ONE)), len(map(0)) > 1, sum(length for length, _ in map(0)) <= 4 << 20, map(0)[0] == map(nbd.CMD_FLAG_REQ_ONE)[0])
chunks = []
def chunk(data, offset, status, error):
    chunks.append((offset, len(data), status))
    return 0
print(len(h.pread_structured(1 << 20, 512 << 10, chunk)), sum(length for _, length, _ in chunks) == 1 << 20)
chunks.clear()
h.pread_structured(1 << 20, 512 << 10, chunk, nbd.CMD_FLAG_DF)
print('one piece', len(chunks))
cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([i % 250 + 1]) * 4096), (3 << 20) + i * 4096) for i in range(200)]
while h.aio_in_flight() > 0: h.poll(1000)
print(all(h.aio_command_completed(c) for c in cookies), all(bytes(h.pread(4096, (3 << 20) + i * 4096)) == bytes([i % 250 + 1]) * 4096 for i in range(200)))
old = nbd.NBD(); old.set_request_structured_replies(False); old.connect_uri(uri)
print('simple', old.get_structured_replies_negotiated(), bytes(old.pread(1, 3 << 20)), says(lambda: old.block_status(512, 0, lambda *a: 0)) != 'done')
asks = nbd.NBD(); asks.set_opt_mode(True); asks.connect_uri(uri)
names = []
asks.opt_list(lambda name, about: names.append(name) or 0)
asks.set_export_name('none such')
print(names, says(lambda: asks.opt_go()))
asks.set_export_name('v'); asks.opt_go(); print('again', asks.get_size() == size); asks.shutdown()
h.shutdown()
`

test('the corners of the protocol, by nbdsh', async (t) => {
  const { pool, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '1G'))
  ok(await ogee('volume', 'create', pool, 'v', '--size', '16M'))
  ok(await ogee('nbd', pool))
  try {
    const uri = `nbd+unix:///v?socket=${join(pool, 'nbd.sock')}`
    const { out } = ok(await run('/usr/bin/python3', ['-m', 'nbd', '--base-allocation', '-u', uri, '-c', `uri = ${JSON.stringify(uri)}`, '-c', CORNERS]))
    assert.deepEqual(out.trim().split('\n'), [
      'newstyle-fixed True True True True True True True True True False False',
      'behind the end EINVAL ENOSPC ENOSPC EINVAL EINVAL EINVAL',
      'flags that nobody knows EINVAL EINVAL',
      "done b'odd' b'\\x00\\x00\\x00od' b'\\x00\\x00\\x00\\x00'",
      "done done done b'\\x00\\x00\\x00' done",
      '1 True True True',
      '1048576 True',
      'one piece 1',
      'True True',
      "simple False b'\\x01' True",
      "['v'] ENOENT",
      'again True'
    ])
  } finally {
    await ogee('nbd', pool, '--stop')
  }
  ok(await ogee('fsck', pool))
})
