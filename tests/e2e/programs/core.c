/* Leaves a core file, and writes it to standard output. Its first argument is how its child ends:
   "fault" by a fault with three more threads, "limited" the same with little room, "hidden" as one that must not be looked into. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int ready;
int marker = 4711;
char *text;

static void *sleeper(void *number) {
    volatile long local = (long)number;
    __sync_fetch_and_add(&ready, 1);
    for (;;) pause();
    return (void *)local;
}

static void deeper(int depth) {
    volatile int here = depth;
    if (depth) deeper(depth - 1);
    else *(volatile int *)16 = 1;
    here++;
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "fault";
    struct rlimit limit = {strcmp(how, "limited") ? RLIM_INFINITY : 16384, RLIM_INFINITY};
    setrlimit(RLIMIT_CORE, &limit);
    if (chdir("/tmp")) return 2;
    int child = fork();
    if (child == 0) {
        pthread_t thread;
        if (!strcmp(how, "hidden")) prctl(PR_SET_DUMPABLE, 0);
        text = strdup("on the heap");
        for (long number = 0; number < 3; number++) pthread_create(&thread, 0, sleeper, (void *)(number + 100));
        while (ready < 3) usleep(1000);
        deeper(3);
    }
    siginfo_t info;
    int status;
    waitid(P_PID, child, &info, WEXITED | WNOWAIT);
    waitpid(child, &status, 0);
    fprintf(stderr, "signal %d, core %d, code %d\n", WTERMSIG(status), !!WCOREDUMP(status), info.si_code);
    char buffer[65536];
    ssize_t length;
    int file = open("core", O_RDONLY);
    while (file >= 0 && (length = read(file, buffer, sizeof buffer)) > 0)
        if (write(1, buffer, length) != length) return 3;
    return 0;
}
