/* One thread on each processor of the machine: prints how many processors there are by each way of asking, how many threads ran where they were
 * put, and what came of a number that goes around them, from a processor that runs to the next one, which sleeps. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROCESSORS_MAX = 64, ROUNDS = 3 };

static int count;
static pthread_barrier_t all_there;
/* What processor n reads from; the next one's is where it writes to. */
static int ring[PROCESSORS_MAX][2];
static int in_place[PROCESSORS_MAX], rounds[PROCESSORS_MAX];

static void *on_processor(void *argument) {
	int number = (int)(long)argument;
	cpu_set_t only;
	CPU_ZERO(&only);
	CPU_SET(number, &only);
	in_place[number] = sched_setaffinity(0, sizeof only, &only) == 0;
	pthread_barrier_wait(&all_there);
	for (int round = 0; round < ROUNDS; round++) {
		int value;
		if (read(ring[number][0], &value, sizeof value) != sizeof value)
			return NULL;
		in_place[number] &= sched_getcpu() == number;
		/* A page that comes and goes: the others must forget it. */
		char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(page, 1, 4096);
		value += page[number];
		munmap(page, 4096);
		rounds[number]++;
		if (write(ring[(number + 1) % count][1], &value, sizeof value) != sizeof value)
			return NULL;
	}
	return NULL;
}

int main(void) {
	cpu_set_t allowed;
	sched_getaffinity(0, sizeof allowed, &allowed);
	count = CPU_COUNT(&allowed);
	printf("allowed %d, online %ld, configured %ld\n", count, sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_CONF));
	pthread_barrier_init(&all_there, NULL, count + 1);
	pthread_t threads[PROCESSORS_MAX];
	for (int number = 0; number < count; number++) {
		if (pipe(ring[number]))
			return 1;
		pthread_create(&threads[number], NULL, on_processor, (void *)(long)number);
	}
	pthread_barrier_wait(&all_there);
	int value = 0, there = 0, passed = 0;
	if (write(ring[0][1], &value, sizeof value) != sizeof value)
		return 1;
	for (int number = 0; number < count; number++) {
		pthread_join(threads[number], NULL);
		there += in_place[number];
		passed += rounds[number];
	}
	if (read(ring[0][0], &value, sizeof value) != sizeof value)
		return 1;
	printf("in place %d, passed on %d times, sum %d\n", there, passed, value);
	return 40 + count % 7;
}
