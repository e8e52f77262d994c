# Files by handle, as an NFS server opens them: name_to_handle_at(2), open_by_handle_at(2). usage: handle.py make|check DIR HANDLES
#   make:  writes files and folders into DIR, their handles into the file HANDLES
#   check: opens each by its handle and compares; also handles of what is gone (ESTALE)
import ctypes, errno, json, os, sys

libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]

def name_to_handle(path):
    handle, mount = Handle(bytes=128), ctypes.c_int()
    if libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0) != 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at", path)
    return {"type": handle.type, "data": bytes(handle.data[:handle.bytes]).hex()}

def open_by_handle(mount_fd, saved, flags):
    data = bytes.fromhex(saved["data"])
    handle = Handle(bytes=len(data), type=saved["type"])
    ctypes.memmove(handle.data, data, len(data))
    fd = libc.open_by_handle_at(mount_fd, ctypes.byref(handle), flags)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return fd

def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("2")

def make(top, out):
    os.makedirs(f"{top}/a/b/c")
    saved = []
    for n in range(200):
        path = f"{top}/a/b/c/file{n}"
        with open(path, "w") as f:
            f.write(f"content {n}")
        saved.append({"handle": name_to_handle(path), "content": f"content {n}"})
    for path in (top, f"{top}/a", f"{top}/a/b/c"):
        saved.append({"handle": name_to_handle(path), "names": sorted(os.listdir(path))})
    # One is renamed, and must still be found; some go, and must not.
    os.rename(f"{top}/a/b/c/file0", f"{top}/elsewhere")
    for n in range(1, 20):
        os.unlink(f"{top}/a/b/c/file{n}")
        saved[n]["gone"] = True
    saved[-1]["names"] = sorted(os.listdir(f"{top}/a/b/c"))
    saved[200]["names"] = sorted(os.listdir(top))
    # New files may get the inode numbers of those that went; the old handles must not reach them.
    for n in range(40):
        open(f"{top}/a/new{n}", "w").close()
    saved[201]["names"] = sorted(os.listdir(f"{top}/a"))
    with open(out, "w") as f:
        json.dump(saved, f)

def check(top, out):
    with open(out) as f:
        saved = json.load(f)
    mount_fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for cold in (False, True):
        for one in saved:
            if cold and one is saved[0]:
                drop_caches()
            try:
                fd = open_by_handle(mount_fd, one["handle"], os.O_RDONLY)
            except OSError as error:
                assert error.errno == errno.ESTALE and one.get("gone"), (one, error)
                continue
            assert not one.get("gone"), f"a handle of a removed file opened something: {one}"
            if "content" in one:
                got = os.read(fd, 100).decode()
                assert got == one["content"], (got, one)
            else:
                got = sorted(os.listdir(fd))
                assert got == one["names"], (len(got), got[:5], one["names"][:5])
            os.close(fd)

{"make": make, "check": check}[sys.argv[1]](sys.argv[2], sys.argv[3])
