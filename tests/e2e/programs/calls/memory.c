/* Pages and mappings. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1024, SIZE = PAGE * PAGES };

static int file;

/* Memory of pages of the usual size, so that each of them is a fault. */
static char *map(int file) {
    int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE;
    char *memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, flags, file, 0);
    must(memory != MAP_FAILED);
    must(madvise(memory, SIZE, MADV_NOHUGEPAGE) == 0);
    return memory;
}

static void write_pages(char *memory) {
    for (long page = 0; page < PAGES; page++)
        *(volatile char *)(memory + page * PAGE) = 1;
}

static void anonymous(long times) {
    while (times--) {
        char *memory = map(-1);
        write_pages(memory);
        munmap(memory, SIZE);
    }
}

static void of_a_file(long times) {
    while (times--) {
        char *memory = map(file);
        for (long page = 0; page < PAGES; page++)
            (void)*(volatile char *)(memory + page * PAGE);
        munmap(memory, SIZE);
    }
}

/* A child writes to all pages that it shares with this process, and tells what that took. */
static void copied(void) {
    struct cost least = {1e300, 1e300};
    struct cost *taken = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *memory = map(-1);
    must(taken != MAP_FAILED);
    write_pages(memory);
    for (int round = 0; round < 5; round++) {
        pid_t child = fork();
        must(child >= 0);
        if (!child) {
            struct cost begin = now();
            write_pages(memory);
            struct cost end = now();
            *taken = (struct cost){end.ticks - begin.ticks, end.nanoseconds - begin.nanoseconds};
            _exit(0);
        }
        must(waitpid(child, 0, 0) == child);
        least.ticks = taken->ticks / PAGES < least.ticks ? taken->ticks / PAGES : least.ticks;
        least.nanoseconds =
            taken->nanoseconds / PAGES < least.nanoseconds ? taken->nanoseconds / PAGES : least.nanoseconds;
    }
    munmap(memory, SIZE);
    munmap(taken, PAGE);
    print_row("page fault, copy on write", least);
}

static void map_unmap(long times) {
    while (times--) {
        char *memory = mmap(0, 64 << 10, PROT_READ, MAP_PRIVATE, file, 0);
        must(memory != MAP_FAILED);
        munmap(memory, 64 << 10);
    }
}

void memory(void) {
    must((file = open("/usr/share/calls/data", O_RDONLY)) >= 0);
    measure("page fault, anonymous", 2, 2 * PAGES, anonymous);
    measure("page fault, file", 4, 4 * PAGES, of_a_file);
    if (wanted("page fault, copy on write"))
        copied();
    measure("mmap and munmap", 2000, 2000, map_unmap);
    close(file);
}
