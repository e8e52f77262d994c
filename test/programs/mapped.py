# Shared writable mappings between processes. usage: mapped.py FILE
#   - Each of 4 processes owns every fourth 512-byte stripe and writes its round into it through its mapping, again and again.
#   - After each round everybody sees everybody's stripes, through the mapping and through read(2).
#   - What write(2) puts in is seen through the mapping; bytes survive dropping the caches; the end of the last page is zeros.
import mmap, os, signal, sys
path, processes, stripe, size, rounds = sys.argv[1], 4, 512, 3 * 1024 * 1024 + 100, 8

with open(path, "wb") as f:
    f.truncate(size)

def content(owner, n):
    return bytes([(owner * 16 + n) % 256]) * stripe
def expected(n):
    return b"".join(content(i % processes, n) for i in range(size // stripe + 1))[:size]

class Barrier:  # one byte from each child, one byte to each child
    def __init__(self):
        self.up, self.down = os.pipe(), [os.pipe() for _ in range(processes)]
    def child(self, me):
        os.write(self.up[1], b"x")
        if os.read(self.down[me][0], 1) != b"x": os._exit(3)
    def parent(self):
        for _ in range(processes): os.read(self.up[0], 1)
    def go(self):
        for pipe in self.down: os.write(pipe[1], b"x")

barrier = Barrier()
def work(me):
    fd = os.open(path, os.O_RDWR)
    view = mmap.mmap(fd, size, mmap.MAP_SHARED)
    for n in range(rounds):
        for at in range(me * stripe, size, processes * stripe):
            view[at:min(at + stripe, size)] = content(me, n)[:min(stripe, size - at)]
        if me == 0 and n % 2: view.flush()
        barrier.child(me)  # all have written
        assert view[:] == expected(n), f"process {me} round {n}: the mapping shows what the others wrote"
        barrier.child(me)  # all have looked

children = []
for me in range(processes):
    pid = os.fork()
    if pid == 0:
        signal.alarm(90)
        try:
            work(me)
            os._exit(0)
        except BaseException as error:
            print(repr(error)[:500], file=sys.stderr)
            os._exit(1)
    children.append(pid)
signal.alarm(100)
for n in range(rounds):
    barrier.parent()
    with open(path, "rb") as f:
        assert f.read() == expected(n), f"round {n}: read(2) shows what was written through mappings"
    barrier.go()
    barrier.parent()
    barrier.go()
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * processes

fd = os.open(path, os.O_RDWR)
view = mmap.mmap(fd, size, mmap.MAP_SHARED)
os.pwrite(fd, b"by write(2)", 5000)
assert view[5000:5011] == b"by write(2)"
view[size - 3:size] = b"end"
view.flush()
view.close()
os.fsync(fd)
os.close(fd)
if os.geteuid() == 0:
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f: f.write("3")
want = bytearray(expected(rounds - 1))
want[5000:5011] = b"by write(2)"
want[size - 3:size] = b"end"
with open(path, "rb") as f:
    assert f.read() == bytes(want), "and after the caches were dropped"
os.truncate(path, size + 8192)
with open(path, "rb") as f:
    f.seek(size)
    assert f.read() == bytes(8192), "what lies behind the end is zeros"
