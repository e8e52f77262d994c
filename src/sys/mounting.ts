/** mount(2) and umount2(2). Root only (or CAP_SYS_ADMIN in the mount's namespace); they return the negative errno. */
import { bind, offLoop, pathArgument, result } from './native.js'

export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
export const MS_SYNCHRONOUS = 16
export const MS_REMOUNT = 32
export const MS_DIRSYNC = 128
export const MS_NOATIME = 1024
export const MS_NODIRATIME = 2048
export const MS_BIND = 4096
export const MS_REC = 16384
export const MS_PRIVATE = 1 << 18
export const MS_RELATIME = 1 << 21
export const MS_STRICTATIME = 1 << 24
export const MS_LAZYTIME = 1 << 25
export const MNT_FORCE = 1
export const MNT_DETACH = 2
export const UMOUNT_NOFOLLOW = 8

type Path = string | Buffer

const libc = {
  mount: bind<[Path, Path, string | null, number, string | null]>(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)'),
  umount2: bind<[Path, number]>('int umount2(const char *target, int flags)')
}

export const mount = (source: Path, target: Path, type: string | null, flags: number, data: string | null): number =>
  result(libc.mount(pathArgument(source), pathArgument(target), type, flags, data))

/** Off the loop: the kernel may ask a daemon in this very process before it answers (a bind's look-up of DIR does). */
export const mountOffLoop = (source: Path, target: Path, type: string | null, flags: number,
  data: string | null): Promise<number> =>
  offLoop(libc.mount, pathArgument(source), pathArgument(target), type, flags, data)

/** Off the loop: the last unmount sends DESTROY and FORGETs to the daemon, which may be us. */
export const umountOffLoop = (target: Path, flags: number): Promise<number> =>
  offLoop(libc.umount2, pathArgument(target), flags)
