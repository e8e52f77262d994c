/** npm install and npm ci of a few small packages from the registry: many small files, renames, symlinked programs. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { programTest } from './mount.js'
import { run } from './run.js'

programTest('npm: install, run, ci', { timeoutMs: 150_000 }, async ({ dir, scratch }) => {
  const npm = (...args: string[]) =>
    run('npm', [...args, '--no-audit', '--no-fund', '--no-update-notifier', '--cache', path.join(scratch, 'cache')], { cwd: dir, timeoutMs: 120_000 })
  writeFileSync(path.join(dir, 'package.json'), '{ "name": "on-the-mount", "version": "1.0.0", "private": true }\n')
  await npm('install', 'semver@7', 'ms@2', 'commander@14')
  const semver = () => run(path.join(dir, 'node_modules/.bin/semver'), ['1.2.3', '-i', 'minor'], { cwd: dir })
  assert.equal((await semver()).stdout, '1.3.0\n')
  await npm('ci', '--prefer-offline')
  assert.equal((await semver()).stdout, '1.3.0\n')
  assert.equal((await run('node', ['-p', "require('ms')('2 days')"], { cwd: dir })).stdout, '172800000\n')
  await npm('ls', '--all')
})
