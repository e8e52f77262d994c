/**
 * The POSIX table in a folder: on this machine's own file system, which proves the table right, and on whatever is mounted
 * at OGEE_TEST_DIR. Only root can be several users.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { driveFolder } from './folder-driver.js'
import { runTable } from './suite.js'
import type { Driver } from './table.js'

const isRoot = process.getuid?.() === 0
const given = process.env.OGEE_TEST_DIR

function driveTemporary(): Driver {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-posix-'))
  const driver = driveFolder(folder)
  return {
    ...driver,
    async close() {
      await driver.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

if (!isRoot) process.stderr.write('the POSIX table in a folder needs root: it works as several users\n')
else if (given !== undefined) runTable(given, async () => driveFolder(given))
else runTable('the temporary folder', async () => driveTemporary())
