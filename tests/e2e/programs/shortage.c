// Programs that take memory until there is no more, and what comes of them and of others.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
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

// Has pages filled in another process, which is the largest then: neither is told that there are no more.
static void fill_other(int through_file) {
    size_t size = (size_t)1 << 30;
    char *at = fresh(size), name[32];
    int status, child = fork();
    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, &status, 0);
    sprintf(name, "/proc/%d/mem", child);
    int file = open(name, O_RDWR);
    errno = 0;
    for (size_t i = 0; i < size; i += PAGE)
        if (through_file ? pwrite(file, "x", 1, (off_t)(at + i)) != 1 : ptrace(PTRACE_POKEDATA, child, at + i, 1) != 0) break;
    int error = errno;
    waitpid(child, &status, 0);
    _exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && error != ENOMEM ? 0 : 100 + error % 100);
}

static void open_many_on(void) {
    for (;;) {
        if (!fork()) {
            open_many();
            for (;;) pause();
        }
        usleep(100000);
    }
}

static void take_on(void) {
    for (;;) {
        if (!fork())
            for (;;) memset(fresh(PIECE), 1, PIECE);
        wait(0);
    }
}

static void fork_on(void) {
    for (;;) {
        if (!fork()) memset(fresh(64 * PAGE), 1, 64 * PAGE);
        else usleep(1000);
    }
}

static void write_on(void) {
    static char block[16 * PAGE];
    for (;;) {
        int file = open("/big", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        while (write(file, block, sizeof block) > 0) {}
        close(file);
    }
}

// One that does a little all the time, and succeeds.
static int turn(void) {
    char text[64];
    int ends[2], file = open("/proc/meminfo", O_RDONLY);
    if (file < 0 || read(file, text, sizeof text) <= 0 || close(file)) return errno;
    if (pipe(ends) || write(ends[1], "x", 1) != 1) return errno;
    struct pollfd ready = {ends[0], POLLIN, 0};
    if (poll(&ready, 1, -1) != 1 || read(ends[0], text, 1) != 1 || close(ends[0]) || close(ends[1])) return errno;
    char *pages = fresh(4 * PAGE);
    memset(pages, 1, 4 * PAGE);
    if (munmap(pages, 4 * PAGE)) return errno;
    int status, child = fork();
    if (!child) _exit(0);
    if (child < 0 || waitpid(child, &status, 0) != child) return errno;
    if (status) return ECHILD;
    return stat("/shortage", &(struct stat){0}) ? errno : 0;
}

static void storm(void) {
    int group = 0, error = 0;
    void (*hogs[])(void) = {fork_on, open_many_on, take_on, write_on};
    for (unsigned i = 0; i < sizeof hogs / sizeof *hogs; i++) {
        int child = fork();
        if (!child) {
            setpgid(0, group);
            hogs[i]();
            _exit(0);
        }
        setpgid(child, group);
        if (!group) group = child;
    }
    time_t end = time(0) + 6;
    while (!error && time(0) < end) {
        // Room for files is a limit of its own.
        error = turn();
        if (error == ENFILE) error = 0;
        usleep(20000);
    }
    kill(-group, SIGKILL);
    printf("watched: %s\n", error ? strerror(error) : "all well");
    fflush(stdout);
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
    } else if (!strcmp(what, "others")) {
        CHILD("poke", fill_other(0));
        CHILD("mem", fill_other(1));
    } else if (!strcmp(what, "storm")) {
        storm();
    } else if (!strcmp(what, "files")) {
        CHILD("files", open_many(); _exit(errno == ENOMEM || errno == ENFILE || errno == EMFILE ? 0 : 1));
    } else if (!strcmp(what, "files-of-many")) {
        // As many as can be, each with as much as it can have.
        static char held[PIECE];
        memset(held, 1, sizeof held);
        int made = 0, child;
        while (made < 60 && (child = fork()) >= 0) {
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
