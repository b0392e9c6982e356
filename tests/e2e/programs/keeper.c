/* keeper PORT [PROGRAM ARGUMENT..]: takes connections on PORT and keeps them. One that sends a line is told the machine's memory, as /proc/meminfo has it,
 * once all that came before it are kept. The program runs beside. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define must(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "keeper: %s: %m\n", #condition); \
            exit(1); \
        } \
    } while (0)

static void tell(int connection) {
    char text[4096];
    int memory = open("/proc/meminfo", O_RDONLY);
    ssize_t length = read(memory, text, sizeof text);
    must(length > 0 && write(connection, text, length) == length);
    close(memory);
    close(connection);
}

int main(int count, char **words) {
    must(count > 1);
    if (count > 2 && fork() == 0) {
        execv(words[2], words + 2);
        must(!"the program can be started");
    }
    struct rlimit files;
    must(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &files) == 0);
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_port = htons(atoi(words[1])) };
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    must(bind(listener, (struct sockaddr *)&place, sizeof place) == 0 && listen(listener, 4096) == 0);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        must(connection >= 0);
        /* Who is kept says a single byte, who asks two. */
        char word[2];
        if (recv(connection, word, sizeof word, 0) == sizeof word)
            tell(connection);
    }
}
