/** readdir: every name once. */
import assert from 'node:assert/strict'
import { expectErrno, makeFile, makeNode, NAME_255 } from '../table.js'
import type { Case, FileType } from '../table.js'

export const listingCases: readonly Case[] = [
  {
    title: 'readdir shows every name once, of every kind and length',
    run: async (t) => {
      const kinds: readonly FileType[] = ['file', 'dir', 'fifo', 'char', 'block', 'socket', 'link']
      for (const type of kinds) await makeNode(t.root, type, type)
      await makeFile(t.root, NAME_255)
      await makeFile(t.root, ' ')
      await makeFile(t.root, 'a b\n"*?')
      assert.deepEqual((await t.root.readdir('.')).sort(), [...kinds, NAME_255, ' ', 'a b\n"*?'].sort())
    },
  },
  {
    title: 'readdir of 500 names, and of what is left after every second one went',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      const names = Array.from({ length: 500 }, (_, i) => `name-${String(i)}`)
      for (const name of names) await t.root.mknod(`d/${name}`, 0o100644, 0, 0)
      assert.deepEqual((await t.root.readdir('d')).sort(), [...names].sort())
      const left = names.filter((_, i) => i % 2 === 1)
      for (const name of names) if (!left.includes(name)) await t.root.unlink(`d/${name}`)
      assert.deepEqual((await t.root.readdir('d')).sort(), [...left].sort())
    },
  },
  {
    title: 'readdir of an empty folder shows nothing',
    run: async (t) => {
      assert.deepEqual(await t.root.readdir('.'), [])
    },
  },
  {
    title: 'readdir: EACCES without read permission, ENOTDIR on a file',
    run: async (t) => {
      await t.root.mkdir('d', 0o711)
      await makeFile(t.root, 'd/known')
      await expectErrno('EACCES', t.alice.readdir('d'))
      await t.alice.stat('d/known') // search permission is enough for that
      await expectErrno('ENOTDIR', t.root.readdir('d/known'))
    },
  },
]
