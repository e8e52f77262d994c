# One SQLite writer of several: transfers between accounts, each in a transaction of its own.
# usage: sqlite.py DATABASE JOURNAL_MODE WRITER TRANSACTIONS
import random, sqlite3, sys
path, mode, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path, timeout=60, isolation_level=None)
assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
db.execute("pragma synchronous=full")
chance = random.Random(writer)
for n in range(count):
    a, b = chance.sample(range(100), 2)
    db.execute("begin immediate")
    db.execute("update account set balance = balance - 1 where id = ?", (a,))
    db.execute("update account set balance = balance + 1 where id = ?", (b,))
    db.execute("insert into entry(writer, n, blob) values (?, ?, ?)", (writer, n, chance.randbytes(chance.randrange(3000))))
    db.execute("commit" if n % 10 != 9 else "rollback")
