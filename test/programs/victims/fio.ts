/**
 * fio: random writes of 4 KiB into one file, an fsync after every 8th. When its disk dies it writes down which writes were answered
 * (its verify state); after the next mount it reads those again and compares their checksums and the seed of the run.
 */
import assert from 'node:assert/strict'
import { existsSync, rmSync, writeFileSync, truncateSync } from 'node:fs'
import path from 'node:path'
import { run, start } from '../run.js'
import type { Running } from '../run.js'
import type { Victim } from './victim.js'

const SIZE_BYTES = 24 << 20
const BLOCKS_AT_LEAST = 20

/** `more`: further words for fio. On a file system between fio and us, what was answered is there only if it was written with --direct=1 --sync=1. */
export function fioVictim(dir: string, scratch: string, more: readonly string[] = []): Victim {
  const state = path.join(scratch, 'local-victim-0-verify.state')
  const file = path.join(dir, 'fio')
  const job = (round: number): string[] => ['--name=victim', `--filename=${file}`, '--ioengine=psync', '--bs=4k', `--size=${SIZE_BYTES}`, '--fsync=8',
    '--rw=randwrite', `--randseed=${round + 1}`, '--verify=crc32c', `--aux-path=${scratch}`, '--output-format=json', ...more]
  let startedMs = 0
  let running: Running | undefined
  return {
    name: 'fio',
    async prepare() {},
    async work(round) {
      rmSync(file, { force: true })
      rmSync(state, { force: true })
      writeFileSync(file, '')
      truncateSync(file, SIZE_BYTES) // a shorter file would be made anew by the run that verifies
      startedMs = performance.now()
      running = start('fio', [...job(round), '--do_verify=0', '--verify_state_save=1'], { cwd: scratch, exits: [0, 1] })
      return [running]
    },
    answers: () => performance.now() - startedMs > 300 ? 1 : 0,
    async after() {
      await running?.done // it ends by itself, of EIO, and then writes its state
    },
    async check(round) {
      assert.ok(existsSync(state), 'fio wrote down what was answered')
      const { stdout } = await run('fio', [...job(round), '--verify_only=1', '--verify_state_load=1', '--verify_state_save=0', '--verify_fatal=1'], { cwd: scratch })
      const told = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: ReadonlyArray<{ error: number, read: { total_ios: number } }> }
      assert.equal(told.jobs[0].error, 0, 'a block that was answered is not there')
      assert.ok(told.jobs[0].read.total_ios >= BLOCKS_AT_LEAST, `only ${told.jobs[0].read.total_ios} blocks were answered`)
      return told.jobs[0].read.total_ios
    }
  }
}
