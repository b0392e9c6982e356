// Threads, pools, locks, processes and a collector at work, in OpenJDK. What comes first in time does not show.
import java.io.*;
import java.lang.management.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.concurrent.locks.*;
import java.util.stream.*;

public class Threads {
    static int guarded;

    public static void main(String[] words) throws Exception {
        threads();
        pools();
        collector();
        processes();
        files();
        faults();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        System.exit(6);
    }

    static void threads() throws Exception {
        Object lock = new Object();
        AtomicLong atomic = new AtomicLong();
        Thread[] threads = new Thread[8];
        for (int number = 0; number < threads.length; number++) {
            threads[number] = new Thread(() -> {
                for (int i = 0; i < 10_000; i++) {
                    synchronized (lock) { guarded++; }
                    atomic.incrementAndGet();
                }
            });
            threads[number].start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println("threads " + guarded + " " + atomic);
        // Two hand each other a turn.
        SynchronousQueue<Integer> there = new SynchronousQueue<>(), back = new SynchronousQueue<>();
        Thread echo = new Thread(() -> {
            try {
                for (int got; (got = there.take()) >= 0;) back.put(got + 1);
            } catch (InterruptedException interrupted) {
                System.out.println("echo interrupted");
            }
        });
        echo.start();
        int turn = 0;
        while (turn < 500) { there.put(turn); turn = back.take(); }
        echo.interrupt();
        echo.join();
        System.out.println("turns " + turn);
        Thread parked = new Thread(LockSupport::park);
        parked.start();
        LockSupport.unpark(parked);
        parked.join();
        long began = System.nanoTime();
        Thread.sleep(20);
        System.out.println("slept " + (System.nanoTime() - began >= 20_000_000));
    }

    static void pools() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Integer>> squares = new ArrayList<>();
        for (int i = 0; i < 100; i++) { int number = i; squares.add(pool.submit(() -> number * number)); }
        int sum = 0;
        for (Future<Integer> square : squares) sum += square.get();
        pool.shutdown();
        System.out.println("pool " + sum + " " + pool.awaitTermination(1, TimeUnit.MINUTES));
        System.out.println("parallel " + IntStream.range(0, 200_000).parallel().filter(i -> i % 7 == 0).count());
        ScheduledExecutorService scheduled = Executors.newScheduledThreadPool(1);
        CountDownLatch ticks = new CountDownLatch(5);
        scheduled.scheduleAtFixedRate(ticks::countDown, 1, 1, TimeUnit.MILLISECONDS);
        ticks.await();
        scheduled.shutdownNow();
        System.out.println("ticks " + ticks.getCount());
    }

    static void collector() {
        // Much is thrown away and some is kept, so that G1 collects, moves and unmaps.
        Map<Integer, byte[]> kept = new HashMap<>();
        long made = 0;
        for (int i = 0; i < 30_000; i++) {
            byte[] bytes = new byte[4096 + i % 512];
            bytes[i % bytes.length] = (byte) i;
            made += bytes.length;
            if (i % 40 == 0) kept.put(i, bytes);
        }
        boolean whole = kept.entrySet().stream().allMatch(e -> e.getValue()[e.getKey() % e.getValue().length] == (byte) (int) e.getKey());
        System.gc();
        long collections = 0;
        StringBuilder names = new StringBuilder();
        for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans()) {
            collections += bean.getCollectionCount();
            names.append(bean.getName()).append(", ");
        }
        System.out.println("collector " + names + (collections > 0) + " " + whole + " " + (made >> 20));
    }

    static void processes() throws Exception {
        Process sort = new ProcessBuilder("sort", "-r").redirectErrorStream(true).start();
        try (Writer in = sort.outputWriter()) { in.write("b\nc\na\n"); }
        System.out.println("sort " + sort.inputReader().lines().collect(Collectors.joining(",")) + " " + sort.waitFor());
        Process shell = new ProcessBuilder("sh", "-c", "echo $VALUE; exit 7").start();
        System.out.println("shell " + shell.waitFor());
        Process sleep = new ProcessBuilder("sleep", "100").start();
        sleep.destroy();
        System.out.println("destroyed " + sleep.waitFor() + " " + sleep.toHandle().isAlive());
        try {
            new ProcessBuilder("/no/such/program").start();
        } catch (IOException error) {
            System.out.println(error.getMessage());
        }
        System.out.println("this " + (ProcessHandle.current().pid() > 0));
    }

    static void files() throws Exception {
        Path file = Files.createTempFile("java", null);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer mapped = channel.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 16);
            for (int i = 0; i < mapped.capacity(); i++) mapped.put(i, (byte) i);
            mapped.force();
            try (FileLock lock = channel.lock()) { System.out.println("lock " + lock.isValid()); }
            ByteBuffer read = ByteBuffer.allocateDirect(256);
            channel.read(read, 512);
            System.out.println("mapped " + read.get(255) + " " + channel.size());
        }
        Files.delete(file);
        System.out.println("deleted " + Files.notExists(file));
        Pipe pipe = Pipe.open();
        Selector selector = Selector.open();
        pipe.source().configureBlocking(false);
        pipe.source().register(selector, SelectionKey.OP_READ);
        System.out.println("nothing ready " + selector.selectNow());
        pipe.sink().write(ByteBuffer.wrap("x".getBytes()));
        System.out.println("ready " + selector.select());
    }

    static int depth(int level) { return depth(level + 1) + 1; }

    static void faults() {
        // Both are signals to the virtual machine: SIGSEGV at address 0 once the code is compiled, and at the end of a stack.
        String text = null;
        int caught = 0;
        for (int i = 0; i < 20_000; i++) {
            try { text.length(); } catch (NullPointerException expected) { caught++; }
        }
        try { depth(0); } catch (StackOverflowError expected) { caught++; }
        try { System.out.println(1 / (caught - caught)); } catch (ArithmeticException expected) { caught++; }
        System.out.println("caught " + caught);
    }
}
