/** Runs the table on a driver: each case in a folder of its own. */
import { after, before, describe, test } from 'node:test'
import { cases } from './cases/index.js'
import { ALICE, BOB, callsIn, ROOT, USERS } from './table.js'
import type { Driver } from './table.js'

/** `skip`: titles that do not hold on this driver, each with its reason. */
export function runTable(name: string, open: () => Promise<Driver>, skip: Readonly<Record<string, string>> = {}): void {
  describe(`POSIX table: ${name}`, () => {
    let driver: Driver
    before(async () => {
      driver = await open()
    })
    after(() => driver.close())
    cases.forEach((c, i) => {
      test(c.title, { skip: skip[c.title] ?? false, timeout: 20_000 }, async () => {
        const folder = `case-${String(i)}`
        for (const user of USERS) await driver.call(user, 'umask', [0])
        await driver.call(ROOT, 'mkdir', [folder, 0o777])
        await c.run({
          root: callsIn(driver, ROOT, folder),
          alice: callsIn(driver, ALICE, folder),
          bob: callsIn(driver, BOB, folder),
          tick: () => driver.tick(),
        })
      })
    })
  })
}
