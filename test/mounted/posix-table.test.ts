/**
 * The table of test/vfs/posix through a mounted pool, a process per user: as pools are mounted by default, where the kernel opens files
 * without asking us, and with opens that reach the daemon.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { mountAt } from '../programs/mount.js'
import { driveFolder } from '../vfs/posix/folder-driver.js'
import { runTable } from '../vfs/posix/suite.js'

const isRoot = process.getuid?.() === 0

function mountedTable(name: string, options: string | undefined, skip: Readonly<Record<string, string>>): void {
  runTable(name, async () => {
    const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? os.tmpdir(), 'ogee-table-'))
    chmodSync(top, 0o755)
    const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
    mkdirSync(mount.dir)
    await mount.mount(options)
    const driver = driveFolder(mount.dir)
    return {
      ...driver,
      async close() {
        await driver.close()
        await mount.umount()
        rmSync(top, { recursive: true, force: true })
      },
    }
  }, skip)
}

if (!isRoot) process.stderr.write('the POSIX table on a mounted pool needs root: it works as several users\n')
else {
  mountedTable('a mounted pool', undefined, { 'a file of O_TMPFILE has no name until it is linked': 'without -o opens there is no O_TMPFILE' })
  mountedTable('a mounted pool, opens reach the daemon', 'opens', {})
}
