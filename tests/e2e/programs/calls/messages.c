/* Pipes and sockets between two processes. */
#define _GNU_SOURCE
#include "bench.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 64 << 10, CHUNKS_OF_MIB = 16 };

/* Where this process writes to and reads from. */
static int to, from;
static char chunk[CHUNK];

static void ask(long times) {
    char byte = 0;
    while (times--) {
        must(write(to, &byte, 1) == 1);
        must(read(from, &byte, 1) == 1);
    }
}

static void take(long times) {
    for (long left = times * CHUNKS_OF_MIB * CHUNK; left > 0;) {
        ssize_t size = read(from, chunk, left < CHUNK ? left : CHUNK);
        must(size > 0);
        left -= size;
    }
}

static void answer(int from, int to) {
    char byte;
    while (read(from, &byte, 1) == 1)
        must(write(to, &byte, 1) == 1);
}

static void give(int from, int to) {
    (void)from;
    while (write(to, chunk, CHUNK) > 0)
        ;
}

/* A pair of descriptors, the first to read from and the second to write to. */
typedef int make_pair(int pair[2]);

static int socket_pair(int pair[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static void measure_pair(const char *name, make_pair *make, void other(int, int), body *run, long times) {
    int there[2], back[2];
    if (!wanted(name))
        return;
    if (make(there)) {
        printf("%s\tnot there\n", name);
        return;
    }
    must(make(back) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (!child) {
        close(there[1]);
        close(back[0]);
        other(there[0], back[1]);
        _exit(0);
    }
    close(there[0]);
    close(back[1]);
    to = there[1];
    from = back[0];
    measure(name, times, times, run);
    close(to);
    close(from);
    must(waitpid(child, 0, 0) == child);
}

void messages(void) {
    memset(chunk, 1, sizeof chunk);
    measure_pair("pipe latency", pipe, answer, ask, 2000);
    measure_pair("pipe bandwidth", pipe, give, take, 8);
    measure_pair("unix socket latency", socket_pair, answer, ask, 2000);
    measure_pair("unix socket bandwidth", socket_pair, give, take, 8);
}
