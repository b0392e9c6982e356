# Databases that processes and threads share, by their locks and by memory that they map. (Debian's libpython3.11-testsuite has no test_sqlite3.)
import multiprocessing, os, sqlite3, tempfile, threading


def connect(path):
    base = sqlite3.connect(path, timeout=120, isolation_level=None)
    # No disk need be waited for.
    base.execute("pragma synchronous=off")
    return base


def add(path, number):
    """Counts one up, time and again, with what others do in between."""
    base = connect(path)
    for turn in range(50):
        base.execute("begin immediate")
        (count,) = base.execute("select value from counter").fetchone()
        base.execute("update counter set value = ?", (count + 1,))
        base.execute("insert into entries values (?, ?)", (number, turn))
        base.execute("rollback" if turn % 10 == 9 else "commit")
    base.close()


def share(folder, mode):
    path = os.path.join(folder, mode)
    base = connect(path)
    print(mode, "is", base.execute(f"pragma journal_mode={mode}").fetchone()[0])
    base.execute("create table counter (value integer)")
    base.execute("create table entries (number integer, turn integer, primary key (number, turn))")
    base.execute("insert into counter values (0)")
    workers = [multiprocessing.Process(target=add, args=(path, number)) for number in range(3)]
    workers += [threading.Thread(target=add, args=(path, number)) for number in range(3, 5)]
    for worker in workers[:3]:
        worker.start()
    for worker in workers[3:]:
        worker.start()
    for worker in workers:
        worker.join()
    print(mode, base.execute("select value from counter").fetchone(), base.execute("select count(*), sum(turn) from entries").fetchone())
    print(mode, base.execute("pragma integrity_check").fetchone()[0])

    # Who reads holds up who commits, but with a log written ahead.
    reader, writer = connect(path), sqlite3.connect(path, timeout=0, isolation_level=None)
    reader.execute("begin")
    reader.execute("select value from counter").fetchone()
    try:
        writer.execute("update counter set value = 0")
        print(mode, "written beside a reader, who sees", reader.execute("select value from counter").fetchone())
    except sqlite3.OperationalError as error:
        print(mode, error)
    reader.execute("commit")
    # Two do not write.
    reader.execute("begin exclusive")
    try:
        writer.execute("begin immediate")
    except sqlite3.OperationalError as error:
        print(mode, error)
    reader.execute("rollback")
    copy = sqlite3.connect(":memory:")
    base.backup(copy, pages=1, sleep=0)
    print(mode, "copied", copy.execute("select count(*) from entries").fetchone())
    for each in (reader, writer, base):
        each.close()
    print(mode, "leaves", sorted(os.listdir(folder)))


def killed(folder):
    """A process ends in the middle of a transaction; who comes next takes back what it did."""
    path = os.path.join(folder, "killed")
    base = connect(path)
    base.execute("create table numbers (number integer)")
    base.executemany("insert into numbers values (?)", ((number,) for number in range(5000)))
    base.close()
    pid = os.fork()
    if pid == 0:
        base = connect(path)
        base.execute("pragma cache_size=2")
        base.execute("begin")
        base.execute("update numbers set number = -1")
        os.kill(os.getpid(), 9)
    print("killed by", os.WTERMSIG(os.waitpid(pid, 0)[1]), "journal left", os.path.exists(path + "-journal"))
    base = connect(path)
    print("taken back", base.execute("select sum(number), count(*) from numbers").fetchone(), os.path.exists(path + "-journal"))
    base.execute("pragma mmap_size=1000000")
    print("mapped", base.execute("select max(number) from numbers").fetchone())
    base.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        share(folder, "delete")
    with tempfile.TemporaryDirectory() as folder:
        share(folder, "wal")
    with tempfile.TemporaryDirectory() as folder:
        killed(folder)
