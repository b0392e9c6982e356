/* Ends in the way that its argument names. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t got;

static void note(int signal)
{
	got = signal;
}

/* Cleared by the kernel when the first thread has ended. */
static volatile int first_runs = 1;

/* Ends by the call and with the status that it is given, after the first thread. */
static void *last(void *words)
{
	char **argv = words;
	while (first_runs)
		syscall(SYS_futex, &first_runs, FUTEX_WAIT, 1, NULL);
	syscall(atoi(argv[0]), atoi(argv[1]));
	return NULL;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(how, "exit"))
		return atoi(argv[2]);
	if (!strcmp(how, "segv"))
		*(volatile int *)(long)argc = 1; /* an odd address in the first page */
	if (!strcmp(how, "divide"))
		__asm__ volatile("xor %%ecx, %%ecx; mov $1, %%eax; cltd; idiv %%ecx" ::: "eax", "ecx", "edx");
	if (!strcmp(how, "illegal"))
		__builtin_trap();
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "kill")) {
		/* PID 1 is immune to a signal without a handler that comes from inside. */
		kill(getpid(), atoi(argv[2]));
		puts("still here");
		return 3;
	}
	if (!strcmp(how, "forge")) {
		/* A signal that claims to come from outside: no sender, and every byte that means nothing set. */
		siginfo_t info;
		memset(&info, 0xff, sizeof info);
		info.si_code = SI_USER;
		info.si_pid = 0;
		syscall(SYS_rt_sigqueueinfo, getpid(), atoi(argv[2]), &info);
		puts("still here");
		return 3;
	}
	if (!strcmp(how, "last")) {
		/* The first thread ends with the status 3, and the process with another thread. */
		pthread_t thread;
		pthread_create(&thread, NULL, last, argv + 2);
		syscall(SYS_set_tid_address, &first_runs);
		syscall(SYS_exit, 3);
	}
	if (!strcmp(how, "wait")) {
		/* Says which signal came, then ends with the status 40 + its number. */
		int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1};
		for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
			signal(signals[i], note);
		puts("waiting");
		while (!got)
			pause();
		printf("signal %d\n", (int)got);
		return 40 + got;
	}
	if (!strcmp(how, "stubborn")) {
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
		puts("waiting");
		for (;;)
			pause();
	}
	if (!strcmp(how, "plain")) {
		puts("waiting");
		for (;;)
			pause();
	}
	return 99;
}
