/* Signals. */
#define _GNU_SOURCE
#include "bench.h"

#include <signal.h>
#include <unistd.h>

static void caught(int number) {
    (void)number;
}

static void install(long times) {
    struct sigaction action = {.sa_handler = caught};
    while (times--)
        must(sigaction(SIGUSR1, &action, 0) == 0);
}

static void deliver(long times) {
    pid_t self = getpid();
    while (times--)
        must(kill(self, SIGUSR1) == 0);
}

void signals(void) {
    measure("signal installed", 10000, 10000, install);
    install(1);
    measure("signal delivered", 5000, 5000, deliver);
}
