# Changes files in DIR without end, at random from SEED, and says of each change what it is about to do and that it was answered.
# usage: writer.py DIR JOURNAL SEED    (the journal lies outside DIR's file system)
# The journal: one JSON array a line before each change, [kind, ...], and a line "ok" once the call returned. Ends by itself when a
# call fails as it does when the daemon is gone. Calls are raw, so that each line is one system call (two for a new file).
import errno, json, os, random, sys

top, journal, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(seed)
log = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
files, folders, links, serial = {}, ["."], [], 0   # files: name -> size

def fresh(kind):
    global serial
    serial += 1
    return os.path.join(chance.choice(folders), f"{kind}{seed}-{serial}")

def content(n, length):
    return (b"%08d." % (n % 10**8) * (length // 9 + 1))[:length]

def step(n):
    kinds = ["create", "write", "write", "append", "append", "truncate", "rename", "unlink", "mkdir", "symlink", "chmod", "fsync", "whole"]
    kind = chance.choice(kinds) if files else "create"
    name = chance.choice(list(files)) if files else None
    length = chance.choice([1, 9, 100, 4096, 5000, 70000]) if chance.random() < 0.9 else 1 << 20
    if kind == "create":
        return [kind, fresh("f")]
    if kind == "whole":   # O_CREAT|O_TRUNC and one write: two calls, two lines
        return ["create", fresh("w")]
    if kind == "write":
        return [kind, name, chance.randrange(files[name] + 5000), length, n]
    if kind == "append":
        return [kind, name, length, n]
    if kind == "truncate":
        return [kind, name, chance.randrange(files[name] * 2 + 1)]
    if kind == "rename":
        return [kind, name, chance.choice(list(files)) if chance.random() < 0.3 else fresh("r")]
    if kind == "mkdir":
        return [kind, fresh("d")] if len(folders) < 30 else ["fsync", name]
    if kind == "symlink":
        return [kind, fresh("s"), f"to-{n}"]
    if kind == "chmod":
        return [kind, name, 0o600 + chance.randrange(64)]
    return [kind, name]

def with_open(name, flags, body):
    fd = os.open(os.path.join(top, name), flags)
    try:
        return body(fd)
    finally:
        try:
            os.close(fd)
        except OSError:
            pass

def whole(done, wanted):
    # Cut short: the daemon died under a large write. That write was not answered.
    if done != wanted: raise OSError(errno.ENOTCONN, "written in part")

def apply(what):
    kind, name = what[0], what[1]
    path = os.path.join(top, name)
    if kind == "create":
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)); files[name] = 0
    elif kind == "write":
        at, length, n = what[2:]
        whole(with_open(name, os.O_WRONLY, lambda fd: os.pwrite(fd, content(n, length), at)), length)
        files[name] = max(files[name], at + length)
    elif kind == "append":
        length, n = what[2:]
        whole(with_open(name, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, content(n, length))), length)
        files[name] += length
    elif kind == "truncate":
        os.truncate(path, what[2]); files[name] = what[2]
    elif kind == "rename":
        os.rename(path, os.path.join(top, what[2]))
        if what[2] != name: files[what[2]] = files.pop(name)
    elif kind == "unlink":
        os.unlink(path); del files[name]
    elif kind == "mkdir":
        os.mkdir(path); folders.append(name)
    elif kind == "symlink":
        os.symlink(what[2], path); links.append(name)
    elif kind == "chmod":
        os.chmod(path, what[2])
    elif kind == "fsync":
        with_open(name, os.O_WRONLY, os.fsync)

n = 0
while True:
    n += 1
    what = step(n)
    os.write(log, (json.dumps(what) + "\n").encode())
    try:
        apply(what)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO): sys.exit(0)
        raise
    os.write(log, b"ok\n")
