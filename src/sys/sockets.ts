/** Sockets by descriptor: handing descriptors over a Unix socket (SCM_RIGHTS: how fusermount3 gives us the mounted /dev/fuse), duplicates, peers. */
import { addressOf, bind, offLoop, result } from './native.js'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_SEQPACKET = 5
const SOCK_CLOEXEC = 0x80000
const SOCK_NONBLOCK = 0x800
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CMSG_CLOEXEC = 0x40000000

const libc = {
  socketpair: bind<[number, number, number, Uint8Array]>('int socketpair(int domain, int type, int protocol, void *sv)'),
  recvmsg: bind<[number, Uint8Array, number]>('int64_t recvmsg(int fd, void *msg, int flags)'),
  fcntl: bind<[number, number, number]>('int fcntl(int fd, int command, int argument)'),
  getsockopt: bind<[number, number, number, Uint8Array, Uint8Array]>('int getsockopt(int fd, int level, int name, void *value, void *length)'),
  setsockopt: bind<[number, number, number, Uint8Array, number]>('int setsockopt(int fd, int level, int name, void *value, uint32_t length)'),
  sendmsg: bind<[number, Uint8Array, number]>('int64_t sendmsg(int fd, void *msg, int flags)')
}

function pairOf(type: number): [number, number] | number {
  const fds = Buffer.alloc(8)
  const rc = result(libc.socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds))
  return rc < 0 ? rc : [fds.readInt32LE(0), fds.readInt32LE(4)]
}

/** Two connected descriptors, both close-on-exec; or the negative errno. */
export const socketPair = (): [number, number] | number => pairOf(SOCK_STREAM)

/** The same, where one read(2) takes what one write(2) gave, as with /dev/fuse. Neither waits. */
export const messagePair = (): [number, number] | number => pairOf(SOCK_SEQPACKET | SOCK_NONBLOCK)

/** msghdr 0..56, iovec 56..72, control message 72..96, one data byte at 96: one buffer, so that all addresses live as long. */
const HEADER_BYTES = 104
const CONTROL_BYTES = 20 // a cmsghdr of 16 and one int

function header(fd: number): Buffer {
  const b = Buffer.alloc(HEADER_BYTES)
  const base = addressOf(b)
  const pointer = (at: number, to: number): void => {
    b.writeUInt32LE((base + to) % 4294967296, at)
    b.writeUInt32LE(Math.floor((base + to) / 4294967296), at + 4)
  }
  pointer(16, 56) // msg_iov
  b.writeUInt32LE(1, 24) // msg_iovlen
  pointer(32, 72) // msg_control
  b.writeUInt32LE(24, 40) // msg_controllen: CMSG_SPACE of one int
  pointer(56, 96) // iov_base
  b.writeUInt32LE(1, 64) // iov_len
  b.writeUInt32LE(CONTROL_BYTES, 72)
  b.writeInt32LE(SOL_SOCKET, 80)
  b.writeInt32LE(SCM_RIGHTS, 84)
  b.writeInt32LE(fd, 88)
  return b
}

/** Waits off the loop for a descriptor. Answers it, -ENODATA (61) if the peer hung up without one, or the negative errno. */
export async function receiveFd(socket: number): Promise<number> {
  const b = header(-1)
  const rc = await offLoop(libc.recvmsg, socket, b, MSG_CMSG_CLOEXEC)
  if (rc < 0) return rc
  const arrived = rc > 0 && b.readUInt32LE(40) >= CONTROL_BYTES && b.readInt32LE(84) === SCM_RIGHTS
  return arrived ? b.readInt32LE(88) : -61
}

export const sendFd = (socket: number, fd: number): number => result(libc.sendmsg(socket, header(fd), 0))

const F_DUPFD_CLOEXEC = 1030
const SO_PEERCRED = 17
const SO_SNDBUF = 7
const SO_SNDBUFFORCE = 32 // past the machine's limit: root's

/** A second descriptor of the same socket, or the negative errno. */
export const duplicate = (fd: number): number => result(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0))

/** The process at the other end of a Unix socket, as it was when it connected; undefined of other sockets. */
export function peerPid(fd: number): number | undefined {
  const credentials = Buffer.alloc(12) // pid, uid, gid
  const length = Buffer.alloc(4)
  length.writeUInt32LE(credentials.length)
  if (result(libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length)) < 0) return undefined
  const pid = credentials.readInt32LE(0)
  return pid > 0 ? pid : undefined
}

/** How much of what is sent waits in the socket; as much as the machine allows. */
export function growSendBuffer(fd: number, bytes: number): void {
  const value = Buffer.alloc(4)
  value.writeInt32LE(bytes, 0)
  if (libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, value, 4) < 0) libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, 4)
}
