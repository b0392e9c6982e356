/* idle ADDRESS PORT COUNT: makes connections to a `keeper` and keeps them. Prints the median time of connecting one of the first and of the last tenth,
 * in nanoseconds, and how many bytes of the machine's memory one of them takes. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define must(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "idle: %s: %m\n", #condition); \
            exit(1); \
        } \
    } while (0)

static struct sockaddr_in place = { .sin_family = AF_INET };

static int reach(void) {
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    must(connection >= 0);
    if (connect(connection, (struct sockaddr *)&place, sizeof place) == 0)
        return connection;
    close(connection);
    return -1;
}

static long free_bytes(void) {
    char text[4097];
    int connection = reach();
    must(connection >= 0 && send(connection, "m\n", 2, 0) == 2);
    ssize_t length = recv(connection, text, sizeof text - 1, MSG_WAITALL);
    must(length > 0);
    text[length] = 0;
    close(connection);
    const char *line = strstr(text, "MemFree:");
    must(line != NULL);
    return atol(line + strlen("MemFree:")) * 1024;
}

static int by_size(const void *left, const void *right) {
    long a = *(const long *)left, b = *(const long *)right;
    return (a > b) - (a < b);
}

static long median(long *values, int count) {
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}

int main(int count, char **words) {
    must(count == 4);
    place.sin_addr.s_addr = inet_addr(words[1]);
    place.sin_port = htons(atoi(words[2]));
    int connections = atoi(words[3]);
    struct rlimit files;
    must(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &files) == 0);
    long *times = calloc(connections, sizeof *times);
    must(times != NULL);
    int first;
    while ((first = reach()) < 0)
        usleep(100000); /* The machine is not there yet. */
    must(send(first, "k", 1, 0) == 1);
    long before = free_bytes();
    for (int i = 0; i < connections; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        int connection = reach();
        clock_gettime(CLOCK_MONOTONIC, &end);
        must(connection >= 0 && send(connection, "k", 1, 0) == 1);
        times[i] = (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec;
    }
    long after = free_bytes();
    int part = connections / 10;
    long early = median(times, part), late = median(times + connections - part, part);
    printf("%ld %ld %ld\n", early, late, (before - after) / connections);
}
