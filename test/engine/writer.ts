/** A daemon in small: commits numbers and prints each one that was answered, until it is killed. Run by kill.test.ts. */
import { rootContext } from '../../src/sys/index.js'
import { openLmdb } from '../../src/engine/index.js'

const [folder, from] = process.argv.slice(2)
const engine = await openLmdb({ folder, logBytes: 512 * 1024, checkpointAtBytes: 128 * 1024 })
const TOGETHER = 8
let next = Number(from)
process.stdout.write('ready\n')
for (;;) {
  const numbers = Array.from({ length: TOGETHER }, () => next++)
  await Promise.all(numbers.map(async (n) => {
    await engine.transact(rootContext, (tx) => {
      tx.put(`v${String(n).padStart(9, '0')}`, Buffer.alloc(1 + (n % 700), n))
      tx.change(Buffer.from(`${n}`))
    }, { id: `${n}`, encodeResult: () => Buffer.from(`r${n}`) })
    await new Promise((resolve) => process.stdout.write(`${n}\n`, resolve)) // a slow reader is waited for: else we were far ahead of what it saw
  }))
  await new Promise((resolve) => setImmediate(resolve))
}
