/** POSIX ACLs: the codec, the algorithms of acl(5), and what they do to modes; plain permission bits beside them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { aclAfterChmod, aclAllows, decodeAcl, encodeAcl, inheritAcl, modeOfAcl } from '../../src/meta/acl.js'
import type { Acl } from '../../src/meta/acl.js'
import { rootContext } from '../../src/sys/index.js'
import { endWhole, engines, expectErrno, root, S_IFDIR, S_IFLNK, S_IFREG, shellOf, user } from './pools.js'
import type { Shell } from './pools.js'

const ACCESS = 'system.posix_acl_access'
const DEFAULT = 'system.posix_acl_default'
const NO_ID = 0xffffffff
const tags: Record<string, number> = { u: 1, user: 2, g: 4, group: 8, m: 16, o: 32 }
const perms = (text: string): number => (text[0] === 'r' ? 4 : 0) | (text[1] === 'w' ? 2 : 0) | (text[2] === 'x' ? 1 : 0)

/** 'u:rwx user5:r-- g:r-x m:rwx o:---' */
const acl = (text: string): Acl => text.split(' ').map((entry) => {
  const [who, perm] = entry.split(':')
  const [, kind, id] = /^([a-z]+)(\d*)$/.exec(who)!
  return { tag: tags[kind], perm: perms(perm), id: id === '' ? NO_ID : Number(id) }
})
const bytesOf = (text: string): Uint8Array => encodeAcl(acl(text))
const NOTHING = { mode: 0, uid: 0, gid: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }

describe('an ACL', () => {
  test('is version 2 and entries of 8 bytes', () => {
    assert.equal(Buffer.from(bytesOf('u:rw- user5:r-- g:r-- m:r-- o:---')).toString('hex'),
      '02000000' + '01000600ffffffff' + '0200040005000000' + '04000400ffffffff' + '10000400ffffffff' + '20000000ffffffff')
    assert.deepEqual(decodeAcl(bytesOf('u:rwx g:r-x o:---')), acl('u:rwx g:r-x o:---'))
    assert.equal(decodeAcl(new Uint8Array([2, 0, 0, 0])), undefined)
  })

  const invalid = ['u:rwx g:r-x', 'g:r-x u:rwx o:---', 'u:rwx user5:r-- g:r-x o:---', 'u:rwx u:rwx g:r-x o:---', 'u:rwx g:r-x m:rwx m:rwx o:---', 'u:rwx g:r-x o:--- m:rwx', 'm:rwx']
  for (const text of invalid) test(`cannot be ${text}`, () => expectErrno('EINVAL', async () => decodeAcl(bytesOf(text))))

  test('is never made of garbage', () => fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
    try {
      const found = decodeAcl(bytes)
      if (found !== undefined) assert.deepEqual(decodeAcl(encodeAcl(found)), found)
    } catch (e) {
      assert(e instanceof Error && 'code' in e && (e.code === 'EINVAL' || e.code === 'EOPNOTSUPP'))
    }
  })))

  test('and the mode say the same', () => {
    assert.deepEqual(modeOfAcl(acl('u:rwx g:r-x o:--x')), { bits: 0o751, isJustMode: true })
    assert.deepEqual(modeOfAcl(acl('u:rwx user1:rwx g:r-x m:rw- o:--x')), { bits: 0o761, isJustMode: false })
    assert.deepEqual(aclAfterChmod(acl('u:rwx user1:rwx g:r-x m:rw- o:--x'), 0o640), acl('u:rw- user1:rwx g:r-x m:r-- o:---'))
    assert.deepEqual(aclAfterChmod(acl('u:rwx g:r-x o:--x'), 0o467), acl('u:r-- g:rw- o:rwx'))
  })

  test('is inherited through the mode asked for', () => {
    const given = inheritAcl(acl('u:rwx user1:rwx g:r-x m:rwx o:r-x'), S_IFREG | 0o660)
    assert.deepEqual(given, { acl: acl('u:rw- user1:rwx g:r-x m:rw- o:---'), mode: S_IFREG | 0o660, isJustMode: false })
    assert.deepEqual(inheritAcl(acl('u:rwx g:r-x o:---'), S_IFREG | 0o4777), { acl: acl('u:rwx g:r-x o:---'), mode: S_IFREG | 0o4750, isJustMode: true })
  })

  test('allows by the first that fits: user, then any group, then others', () => {
    const it = acl('u:rwx user5:rw- g:r-- group7:-w- m:rw- o:rwx')
    const asks = (uid: number, groups: number[], want: number): boolean => aclAllows(it, want, uid, (g) => groups.includes(g), 100)
    assert.equal(asks(5, [], 6), true)
    assert.equal(asks(5, [], 1), false, 'a named user does not fall through to others')
    assert.equal(asks(9, [100], 4), true)
    assert.equal(asks(9, [100], 2), false)
    assert.equal(asks(9, [100, 7], 2), true)
    assert.equal(asks(9, [100, 7], 6), false, 'no one entry has both')
    assert.equal(asks(9, [], 7), true)
    assert.equal(aclAllows(acl('u:rwx user5:rwx g:r-- m:r-- o:---'), 2, 5, () => false, 1), false, 'the mask holds')
  })
})

function withPool(title: string, act: (shell: Shell) => Promise<void>): void {
  for (const [kind, open] of Object.entries(engines)) {
    test(`${title} (${kind})`, { timeout: 20_000 }, async () => {
      const shell = shellOf(await open())
      await act(shell)
      await endWhole(shell.pool)
    })
  }
}
const setAcl = (shell: Shell, ino: number, name: string, text: string | undefined, who = root, killSgid = false) =>
  shell.call(who, (t, tx, op) => t.setxattr(tx, op, ino, name, text === undefined ? new Uint8Array([2, 0, 0, 0]) : bytesOf(text), 0, killSgid))
const stored = async (shell: Shell, ino: number, name: string) => shell.pool.tree.getxattr(shell.pool.engine.reader(rootContext), ino, name, NOW)
const may = async (shell: Shell, uid: number, ino: number, mask: number, groups: number[] = []) =>
  (await shell.pool.tree.mayAccess(shell.pool.engine.reader(rootContext), user(uid, uid, groups), (await shell.inode(ino))!, mask))?.code

describe('ACLs of inodes', () => {
  withPool('an access ACL sets the mode; one that is just a mode is not kept', async (shell) => {
    const file = await shell.make(root, 1, 'f', S_IFREG | 0o2600)
    await setAcl(shell, file, ACCESS, 'u:rwx user5:rw- g:r-- m:rw- o:---')
    assert.equal((await shell.inode(file))?.mode, S_IFREG | 0o2760)
    assert.equal((await shell.inode(file))?.hasAccessAcl, true)
    await shell.call(root, (t, tx, op) => t.setattr(tx, op, file, { ...NOTHING, valid: 1, mode: 0o2640 }))
    assert.deepEqual(decodeAcl((await stored(shell, file, ACCESS))!), acl('u:rw- user5:rw- g:r-- m:r-- o:---'))
    await setAcl(shell, file, ACCESS, 'u:rwx g:r-x o:r-x', root, true)
    assert.equal((await shell.inode(file))?.mode, S_IFREG | 0o755)
    assert.equal(await stored(shell, file, ACCESS), undefined)
  })

  withPool('a default ACL is handed on, and the umask is not asked', async (shell) => {
    const dir = await shell.make(root, 1, 'd', S_IFDIR | 0o755)
    await setAcl(shell, dir, DEFAULT, 'u:rwx user5:rwx g:r-x m:rwx o:---')
    const file = await shell.make(root, dir, 'f', S_IFREG | 0o666, { umask: 0o077 })
    assert.equal((await shell.inode(file))?.mode, S_IFREG | 0o660)
    assert.deepEqual(decodeAcl((await stored(shell, file, ACCESS))!), acl('u:rw- user5:rwx g:r-x m:rw- o:---'))
    assert.equal(await stored(shell, file, DEFAULT), undefined)
    const sub = await shell.make(root, dir, 's', S_IFDIR | 0o777, { umask: 0o077 })
    assert.deepEqual(decodeAcl((await stored(shell, sub, DEFAULT))!), acl('u:rwx user5:rwx g:r-x m:rwx o:---'))
    assert.equal((await shell.inode(sub))?.mode, S_IFDIR | 0o770)
    const symlink = await shell.make(root, dir, 'l', S_IFLNK | 0o777, { target: 'x' })
    assert.equal((await shell.inode(symlink))?.mode, S_IFLNK | 0o777)
    await setAcl(shell, dir, DEFAULT, undefined)
    assert.equal((await shell.inode(dir))?.hasDefaultAcl, false)
    const plain = await shell.make(root, dir, 'p', S_IFREG | 0o666, { umask: 0o027 })
    assert.equal((await shell.inode(plain))?.mode, S_IFREG | 0o640)
  })

  withPool('are the owner\'s, of directories for the default, of no symlink', async (shell) => {
    const file = await shell.make(user(1000), 1, 'f', S_IFREG | 0o666)
    const symlink = await shell.make(root, 1, 'l', S_IFLNK | 0o777, { target: 'x' })
    await expectErrno('EPERM', () => setAcl(shell, file, ACCESS, 'u:rwx g:r-x o:---', user(1001)))
    await expectErrno('EACCES', () => setAcl(shell, file, DEFAULT, 'u:rwx g:r-x o:---', user(1000)))
    await expectErrno('EOPNOTSUPP', () => setAcl(shell, symlink, ACCESS, 'u:rwx g:r-x o:---'))
    await expectErrno('EINVAL', () => setAcl(shell, file, ACCESS, 'u:rwx g:r-x'))
  })

  withPool('decide who may', async (shell) => {
    const file = await shell.make(root, 1, 'f', S_IFREG | 0o640)
    assert.deepEqual([await may(shell, 5, file, 4), await may(shell, 0, file, 6), await may(shell, 0, file, 1)], ['EACCES', undefined, 'EACCES'])
    await setAcl(shell, file, ACCESS, 'u:rw- user5:r-- g:r-- group7:rw- m:rw- o:---')
    assert.deepEqual([await may(shell, 5, file, 4), await may(shell, 5, file, 2), await may(shell, 6, file, 2, [7]), await may(shell, 6, file, 4)], [undefined, 'EACCES', undefined, 'EACCES'])
    const dir = await shell.make(root, 1, 'd', S_IFDIR | 0o700)
    assert.deepEqual([await may(shell, 0, dir, 7), await may(shell, 5, dir, 1)], [undefined, 'EACCES'])
  })
})
