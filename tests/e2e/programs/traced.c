/* Makes calls of many kinds, for what prints them. Only numbers of processes and addresses differ from one run to another. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int channel[2];

static void caught(int signal) { (void)signal; }

static void *writes_late(void *unused) {
    struct timespec late = {0, 50000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &late, 0);
    write(channel[1], "x", 1);
    return unused;
}

static void files(void) {
    char text[64];
    struct stat about;
    struct iovec parts[2] = {{"ab", 2}, {"a longer one that is not shown as a whole\n", 42}};
    int file = open("/tmp/traced", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    write(file, "one\ttwo\n\001\"2", 11);
    lseek(file, 0, SEEK_SET);
    read(file, text, sizeof text);
    fstat(file, &about);
    writev(file, parts, 2);
    pread(file, text, 3, 1);
    ftruncate(file, 5);
    fcntl(file, F_GETFL);
    fcntl(file, F_GETFD);
    fcntl(file, F_SETFD, 0);
    fcntl(file, F_DUPFD_CLOEXEC, 20);
    close(file);
    open("/nope", O_RDONLY | O_DIRECTORY);
    access("/tmp/traced", R_OK | W_OK);
    access("/nope", F_OK);
    stat("/dev/null", &about);
    lstat("/nope", &about);
    mkdir("/tmp/traced.d", 0700);
    rmdir("/tmp/traced.d");
    umask(022);
    chmod("/tmp/traced", 04755);
    unlink("/tmp/traced");
    rename("/nope", "/nope2");
    readlink("/nope", text, sizeof text);
    read(-1, text, 3);
}

static void memory(void) {
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages, 4096, PROT_NONE);
    madvise(pages, 8192, MADV_DONTNEED);
    write(1, pages, 3);
    munmap(pages, 8192);
    mmap((void *)0x10000000, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, 99, 4096);
}

static void waits(void) {
    int ends[2];
    struct epoll_event event = {EPOLLOUT | EPOLLET, {.u64 = 7}};
    pipe(ends);
    pipe2(channel, O_CLOEXEC | O_NONBLOCK);
    dup2(ends[0], 30);
    dup3(ends[0], 31, O_CLOEXEC);
    struct pollfd both[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT | POLLHUP, 0}};
    poll(both, 2, 100);
    poll(both, 1, 0);
    int set = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(set, EPOLL_CTL_ADD, ends[1], &event);
    epoll_wait(set, &event, 4, 10);
    epoll_ctl(set, EPOLL_CTL_DEL, ends[0], 0);
    eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK);
    struct timespec time = {0, 1000};
    nanosleep(&time, 0);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, 0);
}

static void signals(void) {
    struct sigaction action;
    sigset_t set;
    memset(&action, 0, sizeof action);
    action.sa_handler = caught;
    action.sa_flags = SA_RESTART;
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGUSR1, &action, 0);
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, 0);
    raise(SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &set, 0);
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, 0, &set);
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, 0);
    pause();
}

static void sockets(void) {
    int pair[2], one = 1;
    char text[64];
    struct iovec parts[2] = {{"ab", 2}, {"cd\n", 3}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    struct sockaddr_un path = {AF_UNIX, "/nope/socket"};
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(9)};
    socklen_t length = sizeof one;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    sendmsg(pair[0], &message, MSG_NOSIGNAL);
    recv(pair[1], text, 64, MSG_DONTWAIT);
    recv(pair[1], text, 64, MSG_DONTWAIT);
    shutdown(pair[0], SHUT_RDWR);
    int named = socket(AF_UNIX, SOCK_DGRAM, 0);
    connect(named, (void *)&path, sizeof path);
    int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    setsockopt(stream, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bind(stream, (void *)&here, sizeof here);
    getsockopt(stream, SOL_SOCKET, SO_TYPE, &one, &length);
}

int main(int count, char **words) {
    (void)words;
    if (count > 1)
        *(volatile int *)0 = 1;
    /* What the starter had open is none of this program's. */
    syscall(SYS_close_range, 3, ~0U, 0);
    write(-1, "begin", 5);
    files();
    memory();
    waits();
    signals();
    sockets();
    struct rlimit limit = {0, 0};
    setrlimit(RLIMIT_CORE, &limit);
    prctl(PR_SET_NAME, "traced");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    syscall(1000, 1, 2, 3, 4, 5, 6);
    /* One that waits while another thread makes calls. */
    pthread_t thread;
    struct pollfd late = {channel[0], POLLIN, 0};
    pthread_create(&thread, 0, writes_late, 0);
    poll(&late, 1, -1);
    pthread_join(thread, 0);
    char *environment[] = {"A=1", 0};
    int status;
    if (fork() == 0)
        execle("/proc/self/exe", "traced", "again", (char *)0, environment);
    wait4(-1, &status, 0, 0);
    if (fork() == 0)
        raise(SIGTERM);
    wait4(-1, &status, 0, 0);
    wait4(-1, &status, WNOHANG | WUNTRACED, 0);
    return 3;
}
