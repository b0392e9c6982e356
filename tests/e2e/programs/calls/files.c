/* Files that are made, and trees of them. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void create_delete(long times) {
    while (times--) {
        int file = open("/root/made", O_CREAT | O_EXCL | O_WRONLY, 0644);
        must(file >= 0);
        close(file);
        must(unlink("/root/made") == 0);
    }
}

/* Runs a program that prints nothing of interest. */
static void run(char *const words[]) {
    int status;
    pid_t child = fork();
    must(child >= 0);
    if (!child) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        execv(words[0], words);
        _exit(127);
    }
    must(waitpid(child, &status, 0) == child && status == 0);
}

/* Unpacks the archive into a new folder each time. */
static void unpack(long times) {
    static int trees;
    char folder[32];
    while (times--) {
        snprintf(folder, sizeof folder, "/root/tree%d", trees++);
        must(mkdir(folder, 0755) == 0);
        char *words[] = {"/bin/tar", "xf", "/usr/share/calls/files.tar", "-C", folder, 0};
        run(words);
    }
}

static void find(long times) {
    char *words[] = {"/usr/bin/find", "/root/tree0", "-size", "1", 0};
    while (times--)
        run(words);
}

void files(void) {
    measure("file created and deleted", 2000, 2000, create_delete);
    measure("tar x", 1, 1, unpack);
    if (wanted("find") && !wanted("tar x"))
        unpack(1);
    measure("find", 1, 1, find);
}
