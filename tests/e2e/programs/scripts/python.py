# What programs use of processes, threads, signals, terminals and memory. Every line is the same on Linux.
import asyncio, ctypes, fcntl, mmap, multiprocessing, os, pty, resource, signal, sqlite3, subprocess, tempfile, threading, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory


def square(x):
    return x * x


def put(queue, number):
    queue.put((number, os.getpid() != os.getppid()))


def subprocesses():
    print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True))
    cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(len(cat.communicate(b"x" * 200_000)[0]), cat.returncode)
    try:
        subprocess.run(["sleep", "30"], timeout=0.3)
    except subprocess.TimeoutExpired:
        print("time is up")
    child = subprocess.Popen(["sleep", "30"], start_new_session=True)
    os.killpg(child.pid, signal.SIGTERM)
    print(child.wait())


def processes():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, pool.map(square, range(8)))
        queue = context.Queue()
        children = [context.Process(target=put, args=(queue, number)) for number in range(2)]
        for child in children:
            child.start()
        print(sorted(queue.get() for _ in children))
        for child in children:
            child.join()
        print([child.exitcode for child in children])
    first = shared_memory.SharedMemory(create=True, size=10_000)
    first.buf[:3] = b"abc"
    second = shared_memory.SharedMemory(name=first.name)
    print(bytes(second.buf[:3]))
    second.close()
    first.close()
    first.unlink()
    with ProcessPoolExecutor(2) as executor:
        print(list(executor.map(square, range(5))))


async def loop():
    async def after(number):
        await asyncio.sleep(0.01 * number)
        return number

    print(await asyncio.gather(*[after(number) for number in range(5)]))
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("sh", "-c", "read x; echo got $x", stdin=pipe, stdout=pipe)
    print(await child.communicate(b"line\n"), child.returncode)
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.1)
    except asyncio.TimeoutError:
        print("time is up")
    print(await asyncio.to_thread(square, 7))
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, done.set)
    os.kill(os.getpid(), signal.SIGUSR2)
    await done.wait()


def foreign():
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.getpid() == os.getpid(), libc.strlen(b"hello"), libc.close(999), os.strerror(ctypes.get_errno()))
    pointer = ctypes.POINTER(ctypes.c_int)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)(lambda a, b: a[0] - b[0])
    numbers = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
    libc.qsort(numbers, 5, 4, compare)
    print(list(numbers))


def signals_and_threads():
    signal.signal(signal.SIGUSR1, lambda *_: print("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    time.sleep(0.3)
    event = threading.Event()
    thread = threading.Thread(target=lambda: (time.sleep(0.05), event.set()))
    thread.start()
    print(event.wait(30))
    thread.join()
    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=barrier.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for thread in threads:
        thread.join()
    print(os.cpu_count() > 0, len(os.sched_getaffinity(0)) > 0, threading.active_count())


def terminal():
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("stty", ["stty", "size"])
    output = b""
    while True:
        try:
            output += os.read(fd, 100)
        except OSError as error:
            print(output, error, os.waitpid(pid, 0)[1])
            return


def files():
    database = sqlite3.connect("/tmp/database")
    database.execute("create table t(a)")
    database.executemany("insert into t values(?)", [(number,) for number in range(100)])
    database.commit()
    print(database.execute("select sum(a) from t").fetchone())
    with tempfile.TemporaryFile() as file:
        file.write(b"0" * 8192)
        file.flush()
        mapping = mmap.mmap(file.fileno(), 0)
        mapping[0:3] = b"abc"
        mapping.flush()
        print(os.pread(file.fileno(), 4, 0), fcntl.flock(file, fcntl.LOCK_EX), fcntl.lockf(file, fcntl.LOCK_EX))
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0)


if __name__ == "__main__":
    subprocesses()
    processes()
    asyncio.run(loop())
    foreign()
    signals_and_threads()
    terminal()
    files()
