/**
 * The host's disk is full when a checkpoint moves rows to LMDB: nothing that was answered is lost, commits go on while the log has
 * room, then wait until their deadline, and all goes on when there is space again. On a small tmpfs: needs root.
 */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)

test('no room for a checkpoint', { timeout: 60_000, skip: process.getuid?.() === 0 ? false : 'mounts a tmpfs' }, async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'ogee-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'none', disk])
  t.after(() => {
    execFileSync('umount', ['-l', disk])
    rmSync(disk, { recursive: true })
  })
  const { stdout, stderr } = await run(process.execPath, ['--import', 'tsx', new URL('full.ts', import.meta.url).pathname, disk], { timeout: 50_000 })
  assert.match(stdout, /^\d+ commits of 8,000 bytes, then EIO$/m)
  assert.match(stderr, /Input\/output error|No space left/, 'LMDB found no room')
  t.diagnostic(stdout.trim())
})
