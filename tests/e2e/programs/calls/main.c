/* What system calls cost, in the manner of lmbench: `calls` prints a row for each, `calls ROW..` those whose names begin so.
   `calls --free-memory` prints the free memory before and after 20,000 processes instead. */
#define _GNU_SOURCE
#include "bench.h"

#include <stdint.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

/* The least of so many rounds counts: what else the machine does meanwhile only adds. */
enum { ROUNDS = 5, PROCESSES = 20000, WARM_UP = 500 };

static char **names;

struct cost now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (struct cost){(double)__rdtsc(), time.tv_sec * 1e9 + time.tv_nsec};
}

void print_row(const char *name, struct cost cost) {
    printf("%s\t%.1f\t%.1f\n", name, cost.ticks, cost.nanoseconds);
    fflush(stdout);
}

int wanted(const char *name) {
    if (!names[0])
        return 1;
    for (char **wanted = names; *wanted; wanted++)
        if (!strncmp(name, *wanted, strlen(*wanted)))
            return 1;
    return 0;
}

void measure(const char *name, long times, double operations, body *run) {
    struct cost least = {1e300, 1e300};
    if (!wanted(name))
        return;
    for (int round = 0; round < ROUNDS; round++) {
        struct cost begin = now();
        run(times);
        struct cost end = now();
        double ticks = (end.ticks - begin.ticks) / operations;
        double nanoseconds = (end.nanoseconds - begin.nanoseconds) / operations;
        least.ticks = ticks < least.ticks ? ticks : least.ticks;
        least.nanoseconds = nanoseconds < least.nanoseconds ? nanoseconds : least.nanoseconds;
    }
    print_row(name, least);
}

static uint64_t free_memory(void) {
    struct sysinfo info;
    must(sysinfo(&info) == 0);
    return (uint64_t)info.freeram * info.mem_unit;
}

static void run_processes(int count) {
    while (count--) {
        int status;
        pid_t child = fork();
        must(child >= 0);
        if (!child) {
            execl("/nothing-dynamic", "nothing", (char *)0);
            _exit(127);
        }
        must(waitpid(child, &status, 0) == child && status == 0);
    }
}

int main(int count, char **arguments) {
    names = arguments + 1;
    if (count == 2 && !strcmp(arguments[1], "--free-memory")) {
        run_processes(WARM_UP);
        uint64_t before = free_memory();
        run_processes(PROCESSES);
        printf("free memory\t%ju\t%ju\n", before, free_memory());
        return 0;
    }
    calls();
    signals();
    processes();
    messages();
    memory();
    files();
    return 0;
}
