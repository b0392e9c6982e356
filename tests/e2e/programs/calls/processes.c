/* Processes and threads: made, replaced, and taking turns. */
#define _GNU_SOURCE
#include "bench.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void run(char *const words[], long times) {
    while (times--) {
        int status;
        pid_t child = fork();
        must(child >= 0);
        if (!child) {
            if (words)
                execv(words[0], words);
            _exit(words ? 127 : 0);
        }
        must(waitpid(child, &status, 0) == child && status == 0);
    }
}

static void fork_exit(long times) {
    run(0, times);
}

static void exec_static(long times) {
    char *words[] = {"/nothing-static", 0};
    run(words, times);
}

static void exec_dynamic(long times) {
    char *words[] = {"/nothing-dynamic", 0};
    run(words, times);
}

static void shell(long times) {
    char *words[] = {"/bin/sh", "-c", "true", 0};
    run(words, times);
}

static void *end_at_once(void *argument) {
    return argument;
}

static void thread(long times) {
    while (times--) {
        pthread_t thread;
        must(pthread_create(&thread, 0, end_at_once, 0) == 0);
        must(pthread_join(thread, 0) == 0);
    }
}

/* A ring of processes that pass a byte on, through pipes: what comes in at its first pipe comes out at its last. */
enum { LARGEST_RING = 16 };
static int ring[LARGEST_RING][2];
static int ring_size;

static void pass_on(long times) {
    char byte = 0;
    while (times--) {
        must(write(ring[0][1], &byte, 1) == 1);
        must(read(ring[ring_size - 1][0], &byte, 1) == 1);
    }
}

/* The ring consists of this process and others, which end with their pipes. */
static void measure_ring(const char *name, int size, long times) {
    if (!wanted(name))
        return;
    ring_size = size;
    for (int i = 0; i < size; i++)
        must(pipe(ring[i]) == 0);
    for (int i = 1; i < size; i++) {
        pid_t child = fork();
        must(child >= 0);
        if (!child) {
            char byte;
            int from = dup2(ring[i - 1][0], 100), to = dup2(ring[i][1], 101);
            close_range(3, 99, 0);
            while (read(from, &byte, 1) == 1)
                must(write(to, &byte, 1) == 1);
            _exit(0);
        }
    }
    measure(name, times, (double)times * size, pass_on);
    for (int i = 0; i < size; i++) {
        close(ring[i][0]);
        close(ring[i][1]);
    }
    while (wait(0) > 0)
        ;
}

/* A word that two threads give to each other. */
static atomic_uint turn;

static void await_turn(unsigned mine) {
    while (atomic_load(&turn) != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, 0);
}

static void give_turn(unsigned to) {
    atomic_store(&turn, to);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1);
}

static void *answer(void *times) {
    for (long left = *(long *)times; left--;) {
        await_turn(1);
        give_turn(0);
    }
    return 0;
}

static void futexes(long times) {
    pthread_t thread;
    must(pthread_create(&thread, 0, answer, &times) == 0);
    for (long left = times; left--;) {
        give_turn(1);
        await_turn(0);
    }
    must(pthread_join(thread, 0) == 0);
}

void processes(void) {
    measure("fork and exit", 50, 50, fork_exit);
    measure("fork and exec, static", 50, 50, exec_static);
    measure("fork and exec, dynamic", 30, 30, exec_dynamic);
    measure("sh -c true", 30, 30, shell);
    measure("thread", 200, 200, thread);
    measure_ring("context switch, 2 processes", 2, 2000);
    measure_ring("context switch, 16 processes", 16, 300);
    measure("futex ping-pong", 2000, 2000, futexes);
}
