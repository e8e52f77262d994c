/**
 * Generated source trees, the same for the same seed: what git, tar, rsync and the benchmark work on.
 *   - Sizes are those of source files (median about 4 KiB, a few of 100 KiB and more, some empty); folders nest up to 5 deep.
 *   - Content looks like text: it compresses, and no two files are equal.
 */
import { mkdirSync, symlinkSync, writeFileSync, chmodSync } from 'node:fs'
import path from 'node:path'

export interface TreeFile {
  readonly path: string
  readonly content: string
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function dice(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const words = ('inode extent dentry segment offset length buffer commit replay cursor guard delta epoch domain session volume answer request '
  + 'return const function while switch break import export static struct void uint64 size range lock tree node left right').split(' ')

export function text(random: () => number, bytes: number): string {
  const parts: string[] = []
  for (let length = 0; length < bytes;) {
    const word = random() < 0.12 ? `${Math.floor(random() * 1e6)}${random() < 0.5 ? ';\n' : ','}` : words[Math.floor(random() * words.length)]
    parts.push(word)
    length += word.length + 1
  }
  return parts.join(' ').slice(0, bytes)
}

/** Sizes: log-normal around 4 KiB, cut at 256 KiB; 1 % are empty. */
export function sourceBytes(random: () => number): number {
  if (random() < 0.01) return 0
  const gauss = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.min(256 << 10, Math.max(16, Math.floor(4096 * Math.exp(gauss * 1.2))))
}

export function* treeFiles(options: { files: number; seed: number; bytes?: (random: () => number) => number }): Generator<TreeFile> {
  const random = dice(options.seed)
  const bytes = options.bytes ?? sourceBytes
  const folders = ['.']
  for (let n = 0; n < options.files; n++) {
    if (n % 14 === 0) {
      const parent = folders[Math.floor(random() * folders.length)]
      folders.push(parent.split('/').length >= 5 ? `part${n}` : path.posix.join(parent, `part${n}`))
    }
    const folder = random() < 0.7 ? folders[folders.length - 1] : folders[Math.floor(random() * folders.length)]
    yield { path: path.posix.join(folder, `file${n}.${['c', 'h', 'ts', 'md', 'json'][n % 5]}`), content: text(random, bytes(random)) }
  }
}

/** Writes the tree into a folder, with an executable, symlinks (one dangling) and an empty folder as source trees have them. */
export function writeTree(dir: string, options: { files: number; seed: number }): void {
  mkdirSync(dir, { recursive: true })
  let last = ''
  for (const file of treeFiles(options)) {
    const full = path.join(dir, file.path)
    if (path.dirname(full) !== last) mkdirSync((last = path.dirname(full)), { recursive: true })
    writeFileSync(full, file.content)
  }
  writeFileSync(path.join(dir, 'configure'), '#!/bin/sh\necho configured\n')
  chmodSync(path.join(dir, 'configure'), 0o755)
  mkdirSync(path.join(dir, 'empty'))
  symlinkSync('configure', path.join(dir, 'setup'))
  symlinkSync('../nowhere/at/all', path.join(dir, 'dangling'))
}
