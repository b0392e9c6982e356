/*
 * Walks a folder and reads all of it in every way that there is: lists, describes, reads, maps, follows. Errors are counted and do not end
 * it; folders that hold themselves and files without end do, as depth, number and bytes are bounded.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static long files, errors;
static sigjmp_buf back;
static volatile int maps;
static char buffer[65536];

static void failed(const char *what, const char *path)
{
	if (errors++ < 5)
		fprintf(stderr, "%s %.60s: %s\n", what, path, strerror(errno));
}

static void fault(int number)
{
	if (maps)
		siglongjmp(back, 1);
	/* This program itself is damaged: the instruction fails again, for good. */
	signal(number, SIG_DFL);
}

static void read_file(const char *path, off_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return failed("open", path);
	for (int part = 0; part < 8; part++)
		if (read(fd, buffer, sizeof buffer) < 0)
			failed("read", path);
	off_t places[] = {size - 1, size / 2, size & ~4095L, 4095};
	for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
		if (places[i] >= 0 && pread(fd, buffer, sizeof buffer, places[i]) < 0)
			failed("pread", path);
	lseek(fd, 0, SEEK_HOLE);
	lseek(fd, 0, SEEK_DATA);
	size_t length = size < 1 << 16 ? size : 1 << 16;
	char *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map != MAP_FAILED) {
		maps = 1;
		for (volatile size_t at = 0; at < length; at += 4096) {
			if (sigsetjmp(back, 1) == 0)
				map[at]++;
			else
				errors++;
		}
		maps = 0;
		munmap(map, length);
	}
	close(fd);
}

static void walk(const char *path, int depth)
{
	struct stat about;
	char name[4096];
	if (files++ > 3000 || depth > 6)
		return;
	if (lstat(path, &about) < 0)
		return failed("lstat", path);
	ssize_t length = llistxattr(path, name, sizeof name);
	if (length < 0)
		failed("llistxattr", path);
	for (char *at = name; at < name + length; at += strlen(at) + 1)
		if (lgetxattr(path, at, buffer, sizeof buffer) < 0)
			failed("lgetxattr", path);
	if (S_ISLNK(about.st_mode) && readlink(path, buffer, sizeof buffer) < 0)
		failed("readlink", path);
	if (S_ISREG(about.st_mode))
		read_file(path, about.st_size);
	if (!S_ISDIR(about.st_mode))
		return;
	DIR *folder = opendir(path);
	if (!folder)
		return failed("opendir", path);
	struct dirent *entry;
	int entries = 0;
	while (errno = 0, (entry = readdir(folder)) && entries++ < 1500) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < (int)sizeof name) {
			char *copy = strdup(name);
			walk(copy, depth + 1);
			free(copy);
		}
	}
	if (errno)
		failed("readdir", path);
	closedir(folder);
}

int main(int argc, char **argv)
{
	signal(SIGBUS, fault);
	signal(SIGSEGV, fault);
	walk(argc > 1 ? argv[1] : "/tree", 0);
	/* Changes need copies of what is damaged. */
	int fd = open("/tree/plain", O_RDWR);
	if (fd >= 0) {
		if (pwrite(fd, "x", 1, 5000) < 0)
			failed("pwrite", "plain");
		close(fd);
	}
	rename("/tree/many", "/tree/moved");
	printf("walked %ld files, %ld errors\n", files, errors);
	return 0;
}
