# Locks between processes. usage: locks.py flock|posix|ofd|deadlock|release FILE
#   flock, posix, ofd: 6 processes add to a counter in the file, 100 times each, under an exclusive lock: no addition is lost
#   deadlock: two processes that wait for each other's range: one of them is told EDEADLK
#   release: a lock goes with its process; a shared lock lets readers in and keeps a writer out; ranges do not touch each other
import errno, fcntl, os, signal, struct, sys, time

how, path = sys.argv[1], sys.argv[2]
F_OFD_SETLK, F_OFD_SETLKW = 37, 38
def flock64(kind, start=0, length=0):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
def lock(fd):
    if how == "flock": fcntl.flock(fd, fcntl.LOCK_EX)
    elif how == "posix": fcntl.lockf(fd, fcntl.LOCK_EX)
    else: fcntl.fcntl(fd, F_OFD_SETLKW, flock64(fcntl.F_WRLCK))
def unlock(fd):
    if how == "flock": fcntl.flock(fd, fcntl.LOCK_UN)
    elif how == "posix": fcntl.lockf(fd, fcntl.LOCK_UN)
    else: fcntl.fcntl(fd, F_OFD_SETLK, flock64(fcntl.F_UNLCK))

def child(body):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os._exit(body() or 0)
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr)
            os._exit(1)
    return pid
def code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def count():
    def add():
        fd = os.open(path, os.O_RDWR)
        for _ in range(100):
            lock(fd)
            os.lseek(fd, 0, 0)
            n = int(os.read(fd, 100))
            os.lseek(fd, 0, 0)
            os.write(fd, b"%d" % (n + 1))
            unlock(fd)
    with open(path, "w") as f:
        f.write("0")
    assert [code(pid) for pid in [child(add) for _ in range(6)]] == [0] * 6
    with open(path) as f:
        assert f.read() == "600"

def deadlock():
    ready = [os.pipe(), os.pipe()]
    def waits(me):
        def body():
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.lockf(fd, fcntl.LOCK_EX, 10, me * 10)
            os.write(ready[1 - me][1], b"x")
            os.read(ready[me][0], 1)
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX, 10, (1 - me) * 10)
            except OSError as error:
                assert error.errno == errno.EDEADLK, error
                return 7
        return body
    assert sorted(code(pid) for pid in [child(waits(0)), child(waits(1))]) == [0, 7]

def release():
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.truncate(path, 100)
    held, let_go = os.pipe(), os.pipe()
    def holder():
        other = os.open(path, os.O_RDWR)
        fcntl.lockf(other, fcntl.LOCK_SH, 50, 0)
        fcntl.flock(other, fcntl.LOCK_SH)
        os.write(held[1], b"x")
        os.read(let_go[0], 1)
    pid = child(holder)
    os.read(held[0], 1)
    fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 50, 0)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 50, 50)
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    for attempt in (lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0), lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)):
        try:
            attempt()
        except OSError as error:
            assert error.errno in (errno.EAGAIN, errno.EACCES), error
        else:
            raise AssertionError("an exclusive lock beside a shared one")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

{"deadlock": deadlock, "release": release}.get(how, count)()
