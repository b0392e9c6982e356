/* Starts the QEMU named by REAL_QEMU with its own arguments, and writes to QEMU_TIME how many nanoseconds that took. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	(void)argc;
	long long start = now();
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(getenv("REAL_QEMU"), argv);
		_exit(127);
	}
	int status = 0;
	waitpid(child, &status, 0);
	FILE *note = fopen(getenv("QEMU_TIME"), "w");
	if (note) {
		fprintf(note, "%lld\n", now() - start);
		fclose(note);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
