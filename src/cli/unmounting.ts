/** Taking a mount off, with the kernel's (or fusermount3's) answer as a sentence. */
import { Refusal } from '../pool/index.js'
import { SysError } from '../sys/index.js'

export type How = 'plain' | 'lazy'

/** Throws a Refusal if it stays mounted. `lazy`: the name goes at once, the file system with its last open file. */
export async function unmount(dir: string, how: How): Promise<void> {
  try {
    const { unmount: take } = await import('../fuse/index.js') // all of that floor, for those who need it
    await take(dir, how)
  } catch (e) {
    throw refusal(e, dir)
  }
}

function refusal(e: unknown, dir: string): unknown {
  if (!(e instanceof SysError)) {
    const said = e instanceof Error ? e.message : String(e)
    if (said.startsWith('There is no fusermount3')) return new Refusal('unsupported', said)
    return new Refusal('denied', `${dir} could not be unmounted (${said.replace(/^fusermount3: /, '')}): become the user who mounted it, or root.`)
  }
  switch (e.code) {
    case 'EBUSY':
      return new Refusal('busy', `${dir}: target is busy: close the programs that use it (\`fuser -vm ${dir}\` lists them), or take it off lazily with \`ogee umount -l ${dir}\`.`)
    case 'EINVAL':
    case 'ENOENT':
      return new Refusal('missing', `${dir} is not mounted: \`ogee status\` lists what is.`)
    case 'EPERM':
      return new Refusal('denied', `No permission to unmount ${dir}: do it as root, or as the user who mounted it.`)
    default:
      return new Refusal('failed', `${dir} could not be unmounted (${e.code}): see the kernel's log (dmesg).`)
  }
}
