# Makes the calls of test/posix/posix.ts on a real mount: one JSON request a line in, one answer a line out.
# Request: {"dir", "op", "args", "uid", "gid", "groups", "umask"}; answer: {"errno": name} or {"value": anything}.
import ctypes, errno, json, os, stat, subprocess, sys, time

libc = ctypes.CDLL(None, use_errno=True)
fds, remembered = {}, {}
whences = {"data": os.SEEK_DATA, "hole": os.SEEK_HOLE, "end": os.SEEK_END}
kinds = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "char": stat.S_IFCHR, "block": stat.S_IFBLK, "file": stat.S_IFREG}
names = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "char", stat.S_IFBLK: "block"}

def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result

def told(s):
    return {"type": names[stat.S_IFMT(s.st_mode)], "mode": stat.S_IMODE(s.st_mode), "nlink": s.st_nlink, "uid": s.st_uid, "gid": s.st_gid, "size": s.st_size,
            "blocks": s.st_blocks, "ino": s.st_ino, "major": os.major(s.st_rdev), "minor": os.minor(s.st_rdev),
            "atime": list(divmod(s.st_atime_ns, 10**9)), "mtime": list(divmod(s.st_mtime_ns, 10**9)), "ctime": list(divmod(s.st_ctime_ns, 10**9))}

def times(path):
    s = os.lstat(path)
    return {"atime": s.st_atime_ns, "mtime": s.st_mtime_ns, "ctime": s.st_ctime_ns}

class timespec(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
def one_time(value):
    return timespec(0, 0x3fffffff if value == "now" else 0x3ffffffe) if isinstance(value, str) else timespec(*value)

def opened(path, flags, fd, mode=0o644):
    number = os.open(path, sum(getattr(os, "O_" + name) for name in flags.split()) | os.O_CLOEXEC, mode)
    if fd: fds[fd] = number
    else: os.close(number)

def remember(paths):
    for path in paths: remembered[path] = times(path)
    time.sleep(0.012)  # longer than a tick of any clock that stamps files

def changed(paths):
    now = {path: times(path) for path in paths}
    return {path: " ".join(name for name in ("atime", "mtime", "ctime") if now[path][name] != remembered[path][name]) for path in paths}

def access(path, mode):
    checked(libc.faccessat(-100, os.fsencode(path), sum({"r": 4, "w": 2, "x": 1}[c] for c in mode), 0x200))  # AT_EACCESS

def program(*command):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if ran.returncode != 0: raise OSError(next((code for code in errno.errorcode if os.strerror(code) in ran.stderr), errno.EIO), ran.stderr)
    return ran.stdout

calls = {
    "setfacl": lambda spec, path: program("setfacl", *spec.split(), path) and None,
    "getfacl": lambda path: ",".join(line.split("\t")[0] for line in program("getfacl", "-cpnE", path).split("\n") if line),
    "create": lambda path, mode: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)),
    "open": opened,
    "tmpfile": lambda path, fd, mode: opened(path, "TMPFILE RDWR", fd, mode),
    "close": lambda fd: os.close(fds.pop(fd)),
    "mkdir": os.mkdir, "rmdir": os.rmdir, "unlink": os.unlink, "symlink": os.symlink, "readlink": os.readlink,
    "link": lambda a, b: os.link(a, b, follow_symlinks=False),
    "linkfd": lambda fd, to: checked(libc.linkat(-100, b"/proc/self/fd/%d" % fds[fd], -100, os.fsencode(to), 0x400)),
    "rename": lambda a, b, flags: checked(libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags)),
    "mknod": lambda path, kind, mode, major, minor: os.mknod(path, kinds[kind] | mode, os.makedev(major, minor)),
    "chmod": os.chmod, "chown": os.chown, "lchown": os.lchown, "truncate": os.truncate,
    "ftruncate": lambda fd, size: os.ftruncate(fds[fd], size),
    "write": lambda fd, text: os.write(fds[fd], text.encode("latin1")),
    "pwrite": lambda fd, text, at: os.pwrite(fds[fd], text.encode("latin1"), at),
    "pread": lambda fd, length, at: os.pread(fds[fd], length, at).decode("latin1"),
    "fsync": lambda fd: os.fsync(fds[fd]),
    "fallocate": lambda fd, mode, at, length: checked(libc.fallocate(fds[fd], mode, ctypes.c_long(at), ctypes.c_long(length))),
    "seek": lambda fd, at, whence: os.lseek(fds[fd], at, whences[whence]),
    "copyrange": lambda a, a_at, b, b_at, length: os.copy_file_range(fds[a], fds[b], length, a_at, b_at),
    "utimes": lambda path, a, m: checked(libc.utimensat(-100, os.fsencode(path), (timespec * 2)(one_time(a), one_time(m)), 0x100)),
    "access": access,
    "list": lambda path: sorted(os.listdir(path)),
    "setxattr": lambda path, name, value, flags: os.setxattr(path, name, value.encode("latin1"), flags, follow_symlinks=False),
    "getxattr": lambda path, name: os.getxattr(path, name, follow_symlinks=False).decode("latin1"),
    "listxattr": lambda path: sorted(name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("security.")),
    "removexattr": lambda path, name: os.removexattr(path, name, follow_symlinks=False),
    "lstat": lambda path: told(os.lstat(path)), "stat": lambda path: told(os.stat(path)), "fstat": lambda fd: told(os.fstat(fds[fd])),
    "remember": remember, "changed": changed,
    "end": lambda: [os.close(fds.pop(name)) for name in list(fds)],
}

for line in sys.stdin:
    ask = json.loads(line)
    os.chdir(ask["dir"])
    os.umask(ask["umask"])
    os.setgroups(ask["groups"])
    os.setegid(ask["gid"])
    os.seteuid(ask["uid"])
    try:
        value = calls[ask["op"]](*ask["args"])
        answer = {"value": value if isinstance(value, (str, int, list, dict)) else None}
    except OSError as error:
        answer = {"errno": "EOPNOTSUPP" if error.errno == errno.EOPNOTSUPP else errno.errorcode.get(error.errno, str(error.errno))}
    except ValueError as error:
        answer = {"errno": "EINVAL " + str(error)}
    finally:
        os.seteuid(0)
        os.setegid(0)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
