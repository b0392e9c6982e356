/* connections COUNT: makes connections to itself and keeps both ends of each. Prints by how much the time-stamp counter advances for one of the first and
 * for one of the last tenth: connecting, accepting, and a byte that is sent and received. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>

#define must(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "connections: %s: %m\n", #condition); \
            exit(1); \
        } \
    } while (0)

static struct sockaddr_in place = { .sin_family = AF_INET };

static void keep_another(int listener) {
    char byte = 'k';
    int near = socket(AF_INET, SOCK_STREAM, 0);
    must(near >= 0 && connect(near, (struct sockaddr *)&place, sizeof place) == 0);
    int far = accept(listener, NULL, NULL);
    must(far >= 0 && send(near, &byte, 1, 0) == 1 && recv(far, &byte, 1, 0) == 1);
}

int main(int count, char **words) {
    must(count == 2);
    int connections = atoi(words[1]), tenth = connections / 10;
    struct rlimit files = { 2 * connections + 10, 2 * connections + 10 };
    must(tenth > 0 && setrlimit(RLIMIT_NOFILE, &files) == 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof place;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (struct sockaddr *)&place, length) == 0 && listen(listener, 16) == 0);
    must(getsockname(listener, (struct sockaddr *)&place, &length) == 0);
    unsigned long long marks[4];
    keep_another(listener); /* What happens once only. */
    marks[0] = __rdtsc();
    for (int made = 0; made < connections; made++) {
        if (made == tenth)
            marks[1] = __rdtsc();
        if (made == connections - tenth)
            marks[2] = __rdtsc();
        keep_another(listener);
    }
    marks[3] = __rdtsc();
    printf("%llu %llu\n", (marks[1] - marks[0]) / tenth, (marks[3] - marks[2]) / tenth);
}
