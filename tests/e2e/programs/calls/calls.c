/* Calls that neither wait nor make anything. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIPES = 100 };

static int zero, null, file, epoll, readers[PIPES];

static void null_call(long times) {
    while (times--)
        getppid();
}

static void read_byte(long times) {
    char byte;
    while (times--)
        must(read(zero, &byte, 1) == 1);
}

static void write_byte(long times) {
    while (times--)
        must(write(null, "", 1) == 1);
}

static void stat_file(long times) {
    struct stat status;
    while (times--)
        must(stat("/usr/share/calls/data", &status) == 0);
}

static void fstat_file(long times) {
    struct stat status;
    while (times--)
        must(fstat(file, &status) == 0);
}

static void open_close(long times) {
    while (times--) {
        int opened = open("/usr/share/calls/data", O_RDONLY);
        must(opened >= 0);
        close(opened);
    }
}

static void select_pipes(long times) {
    while (times--) {
        fd_set set;
        struct timeval none = {0, 0};
        FD_ZERO(&set);
        for (int i = 0; i < PIPES; i++)
            FD_SET(readers[i], &set);
        must(select(readers[PIPES - 1] + 1, &set, 0, 0, &none) == 1);
    }
}

static void epoll_pipes(long times) {
    struct epoll_event events[PIPES];
    while (times--)
        must(epoll_wait(epoll, events, PIPES, 0) == 1);
}

/* Pipes, of which the last has something to read. */
static void open_pipes(void) {
    must((epoll = epoll_create1(0)) >= 0);
    for (int i = 0; i < PIPES; i++) {
        int ends[2];
        must(pipe(ends) == 0);
        readers[i] = ends[0];
        struct epoll_event event = {.events = EPOLLIN, .data.fd = ends[0]};
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
        if (i == PIPES - 1)
            must(write(ends[1], "", 1) == 1);
    }
}

void calls(void) {
    must((zero = open("/dev/zero", O_RDONLY)) >= 0);
    must((null = open("/dev/null", O_WRONLY)) >= 0);
    must((file = open("/usr/share/calls/data", O_RDONLY)) >= 0);
    measure("null call", 10000, 10000, null_call);
    measure("read a byte", 10000, 10000, read_byte);
    measure("write a byte", 10000, 10000, write_byte);
    measure("stat", 5000, 5000, stat_file);
    measure("fstat", 5000, 5000, fstat_file);
    measure("open and close", 3000, 3000, open_close);
    open_pipes();
    measure("select", 500, 500, select_pipes);
    measure("epoll", 5000, 5000, epoll_pipes);
    closefrom(3);
}
