// Programs that take memory until there is no more, and what comes of them and of others.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PIECE (1 << 20)

static char *fresh(size_t size) {
    char *at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) _exit(100);
    return at;
}

// Each has pages filled by the calls that it makes alone: no call fails or is short because there are no more.
static void read_into(void) {
    int zero = open("/dev/zero", O_RDONLY);
    while (read(zero, fresh(PIECE), PIECE) == PIECE) {}
}

static void stat_into(void) {
    for (;;) {
        char *at = fresh(PIECE);
        for (int i = 0; i < PIECE; i += PAGE)
            if (stat("/", (struct stat *)(at + i))) return;
    }
}

static void nothing(int signal) { (void)signal; }

// Signal frames are written to fresh pages: the stack moves down a page each time.
static void handle_on(void) {
    size_t size = (size_t)1 << 30;
    char *at = fresh(size);
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, 0);
    for (size_t top = size; top > 16 * PAGE; top -= PAGE) {
        stack_t stack = {.ss_sp = at + top - 16 * PAGE, .ss_size = 16 * PAGE};
        sigaltstack(&stack, 0);
        raise(SIGUSR1);
    }
}

static void *part(const char *kind, size_t size) {
    if (!strcmp(kind, "anonymous")) return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!strcmp(kind, "memfd")) {
        int fd = memfd_create("part", 0);
        return ftruncate(fd, size) ? MAP_FAILED : mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    int id = shmget(IPC_PRIVATE, size, 0600 | IPC_CREAT);
    void *at = shmat(id, 0, 0);
    // It is to end with the process.
    shmctl(id, IPC_RMID, 0);
    return at;
}

// Takes so many hundredths of the memory, shared.
static void share(const char *kind, int hundredths) {
    struct sysinfo info;
    sysinfo(&info);
    size_t size = info.totalram / 100 * hundredths;
    char *at = part(kind, size);
    if (at == MAP_FAILED) _exit(100 + errno % 100);
    for (size_t i = 0; i < size; i += PAGE) at[i] = 1;
    _exit(0);
}

static void open_many(void) {
    while (open("/dev/null", O_RDONLY) >= 0) {}
}

static void tell(const char *name, int status) {
    if (WIFSIGNALED(status)) printf("%s: signal %d\n", name, WTERMSIG(status));
    else printf("%s: status %d\n", name, WEXITSTATUS(status));
    fflush(stdout);
}

#define CHILD(name, ...) \
    do { \
        int status; \
        if (!fork()) { \
            __VA_ARGS__; \
            _exit(1); \
        } \
        wait(&status); \
        tell(name, status); \
    } while (0)

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "calls")) {
        CHILD("read", read_into());
        CHILD("stat", stat_into());
        CHILD("signal", handle_on());
    } else if (!strcmp(what, "shared")) {
        CHILD("anonymous", share("anonymous", 60));
        CHILD("memfd", share("memfd", 60));
        CHILD("segment", share("segment", 60));
        CHILD("all", share("anonymous", 100));
    } else if (!strcmp(what, "files")) {
        CHILD("files", open_many(); _exit(errno == ENOMEM || errno == ENFILE || errno == EMFILE ? 0 : 1));
    } else if (!strcmp(what, "files-of-many")) {
        // As many as can be, each with as much as it can have.
        static char held[PIECE];
        memset(held, 1, sizeof held);
        int made = 0, child;
        while (made < 300 && (child = fork()) >= 0) {
            if (!child) {
                open_many();
                for (;;) pause();
            }
            made++;
        }
        puts(made > 0 ? "made" : "none made");
        fflush(stdout);
        kill(0, SIGKILL);
    }
    return 0;
}
