/** git on the file system: clone of a repository with a history, fsck, status, checkout, commit, gc. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { programTest } from './mount.js'
import { run } from './run.js'
import { dice, text, treeFiles } from './tree.js'

/** A stream for git fast-import: one commit of the whole tree, then commits that change a few files each. */
export function history(options: { files: number; commits: number; seed: number }): string {
  const random = dice(options.seed + 1)
  const files = [...treeFiles({ files: options.files, seed: options.seed })]
  const parts: string[] = ['reset refs/heads/main\n']
  const data = (content: string) => `data ${Buffer.byteLength(content)}\n${content}\n`
  for (let n = 0; n < options.commits; n++) {
    parts.push(`commit refs/heads/main\ncommitter Someone <someone@example.org> ${1_700_000_000 + n * 60} +0000\n${data(`change ${n}\n`)}`)
    const changed = n === 0 ? files : Array.from({ length: 15 }, () => {
      const old = files[Math.floor(random() * files.length)]
      return { path: old.path, content: `${old.content.slice(0, Math.floor(random() * old.content.length))}\n${text(random, 200)}\n` }
    })
    for (const file of changed) parts.push(`M ${n % 7 === 3 ? '100755' : '100644'} inline ${file.path}\n${data(file.content)}`)
    parts.push('\n')
  }
  return parts.join('')
}

const env = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null', GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.org', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@example.org' }

programTest('git: clone, fsck, status, checkout, commit, gc', { timeoutMs: 180_000 }, async ({ dir, scratch }) => {
  const origin = path.join(scratch, 'origin.git')
  const clone = path.join(dir, 'clone')
  const git = async (cwd: string, ...args: string[]) => (await run('git', args, { cwd, env })).stdout
  await git(scratch, 'init', '-q', '--bare', '-b', 'main', origin)
  await run('git', ['fast-import', '--quiet'], { cwd: origin, env, input: history({ files: 3000, commits: 40, seed: 11 }) })

  await git(dir, 'clone', '-q', `file://${origin}`, clone)
  assert.equal(await git(clone, 'rev-parse', 'HEAD'), await git(origin, 'rev-parse', 'main'))
  await git(clone, 'fsck', '--strict', '--full')
  assert.equal(await git(clone, 'status', '--porcelain', '--ignored'), '', 'a fresh clone is clean')
  assert.equal((await git(clone, 'ls-files')).split('\n').length - 1, 3000)

  await git(clone, 'checkout', '-q', 'HEAD~30')
  assert.equal(await git(clone, 'status', '--porcelain'), '')
  await git(clone, 'checkout', '-q', 'main')
  await git(clone, 'switch', '-q', '-c', 'work')
  await git(clone, 'mv', 'part0', 'moved')
  await git(clone, 'commit', '-q', '-m', 'move a folder')
  await git(clone, 'stash', 'list')
  await git(clone, 'gc', '-q', '--prune=now')
  await git(clone, 'fsck', '--strict', '--full')
  assert.equal(await git(clone, 'status', '--porcelain'), '')
  // The working tree is byte for byte what the objects say, read again past the index.
  await git(clone, 'rm', '-q', '--cached', '-r', '.')
  await git(clone, 'reset', '-q', '--hard')
  assert.equal(await git(clone, 'status', '--porcelain'), '')
  await git(clone, 'push', '-q', 'origin', 'work')
})
