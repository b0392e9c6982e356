/* The first program of a Linux guest: loads the modules in /modules in the order of their names, gives the first network card the address that
 * QEMU's user network has for it, lays an overlay over /image, as a container's root is, and runs what its arguments say. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define must(condition) \
    do { \
        if (!(condition)) { \
            printf("linux-init: %s: %m\n", #condition); \
            fflush(stdout); \
            tcdrain(1); \
            exit(1); \
        } \
    } while (0)

static int is_module(const struct dirent *entry) {
    return strstr(entry->d_name, ".ko") != NULL;
}

static void load_modules(void) {
    struct dirent **modules;
    int count = scandir("/modules", &modules, is_module, alphasort);
    must(count > 0 && chdir("/modules") == 0);
    for (int i = 0; i < count; i++) {
        int module = open(modules[i]->d_name, O_RDONLY);
        must(module >= 0 && syscall(SYS_finit_module, module, "", 0) == 0);
        close(module);
    }
}

static struct sockaddr address(const char *text) {
    struct sockaddr_in ip = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(text) };
    struct sockaddr any;
    memcpy(&any, &ip, sizeof any);
    return any;
}

static void bring_up(int socket, struct ifreq *request) {
    must(ioctl(socket, SIOCGIFFLAGS, request) == 0);
    request->ifr_flags |= IFF_UP;
    must(ioctl(socket, SIOCSIFFLAGS, request) == 0);
}

static void configure_network(void) {
    struct ifreq lo = { .ifr_name = "lo" }, eth0 = { .ifr_name = "eth0" };
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    must(control >= 0);
    bring_up(control, &lo);
    eth0.ifr_addr = address("10.0.2.15");
    if (ioctl(control, SIOCSIFADDR, &eth0) != 0)
        return; /* There is no card. */
    eth0.ifr_netmask = address("255.255.255.0");
    must(ioctl(control, SIOCSIFNETMASK, &eth0) == 0);
    bring_up(control, &eth0);
    struct rtentry route = {
        .rt_dst = address("0.0.0.0"), .rt_genmask = address("0.0.0.0"),
        .rt_gateway = address("10.0.2.2"), .rt_flags = RTF_UP | RTF_GATEWAY };
    must(ioctl(control, SIOCADDRT, &route) == 0);
    close(control);
}

int main(int count, char **words) {
    must(count > 1);
    load_modules();
    configure_network();
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
