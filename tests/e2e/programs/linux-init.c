/* The first program of a Linux guest: lays an overlay over /image, as a container's root is, and runs what its arguments say. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define must(condition) \
    do { \
        if (!(condition)) { \
            printf("linux-init: %s: %m\n", #condition); \
            exit(1); \
        } \
    } while (0)

int main(int count, char **words) {
    int module = open("/overlay.ko", O_RDONLY);
    must(count > 1 && module >= 0);
    must(syscall(SYS_finit_module, module, "", 0) == 0);
    close(module);
    must(mkdir("/memory", 0755) == 0 && mount("none", "/memory", "tmpfs", 0, "size=80%") == 0);
    must(mkdir("/memory/upper", 0755) == 0 && mkdir("/memory/work", 0755) == 0 && mkdir("/merged", 0755) == 0);
    must(mount("none", "/merged", "overlay", 0, "lowerdir=/image,upperdir=/memory/upper,workdir=/memory/work") == 0);
    must(mount("none", "/merged/proc", "proc", 0, 0) == 0 && mount("none", "/merged/sys", "sysfs", 0, 0) == 0);
    must(mount("none", "/merged/dev", "devtmpfs", 0, 0) == 0);
    must(chdir("/merged") == 0 && mount("/merged", "/", 0, MS_MOVE, 0) == 0 && chroot(".") == 0);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    execv(words[1], words + 1);
    must(!"the program can be started");
}
