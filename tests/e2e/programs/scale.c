/* How much more two processes get done on two processors than one process does: twice the time of one, by the time of two. The best of some
 * tries, as whoever else uses the host's processors only makes a try worse. As process 1 of Linux it ends the machine itself. */
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

enum { TRIES = 7, STEPS = 60000000 };

static void work(void) {
	volatile uint64_t result;
	uint64_t value = 1;
	for (int step = 0; step < STEPS; step++)
		value = value * 6364136223846793005u + 1442695040888963407u;
	result = value;
	(void)result;
}

/* Ticks of the time-stamp counter for so many processes at once. */
static uint64_t ticks(int processes) {
	uint64_t begin = __rdtsc();
	for (int process = 0; process < processes; process++)
		if (fork() == 0) {
			work();
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	return __rdtsc() - begin;
}

int main(void) {
	uint64_t one = UINT64_MAX, two = UINT64_MAX;
	for (int try = 0; try < TRIES; try++) {
		uint64_t now = ticks(1);
		one = now < one ? now : one;
		now = ticks(2);
		two = now < two ? now : two;
	}
	printf("scale\t%.4f\n", 2.0 * one / two);
	return 0;
}
