// Two processes count on one CPU, of which one is to have less of it. Tells whether the other counts so many times as much.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile long *counts;

static void wish(const char *what) {
    struct sched_param none = {0};
    if (!strcmp(what, "idle")) sched_setscheduler(0, SCHED_IDLE, &none);
    else if (!strcmp(what, "batch")) sched_setscheduler(0, SCHED_BATCH, &none);
    else setpriority(PRIO_PROCESS, 0, atoi(what));
}

static int start(int which, const char *what, long seconds) {
    int child = fork();
    if (child) return child;
    wish(what);
    for (struct timespec used = {0};; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used)) {
        if (seconds && used.tv_sec >= seconds) _exit(0);
        for (int i = 0; i < 10000; i++) counts[which]++;
    }
}

// For each three words: who gets more, who gets less, and how many times as much at least.
int main(int count, char **words) {
    counts = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 1; i + 2 < count; i += 3) {
        counts[0] = counts[1] = 0;
        int less = start(1, words[i + 1], 0);
        while (!counts[1]) sched_yield();
        waitpid(start(0, words[i], 1), 0, 0);
        long more = counts[0], other = counts[1];
        kill(less, SIGKILL);
        waitpid(less, 0, 0);
        int enough = more >= atoi(words[i + 2]) * other;
        printf("%s against %s: %s\n", words[i], words[i + 1], enough ? "more" : "no more");
        fflush(stdout);
    }
    return 0;
}
