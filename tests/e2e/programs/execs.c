/*
 * Executes each file that is named in a process of its own and prints what came of it: "NAME ERRNO" where execve(2) failed, "NAME signal N" or
 * "NAME status N" for a file that was executed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int try(const char *path)
{
	char *argv[] = {(char *)path, NULL}, *envp[] = {NULL};
	execve(path, argv, envp);
	return errno;
}

int main(int argc, char **argv)
{
	int *error = mmap(NULL, sizeof *error, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		int status = 0;
		*error = 0;
		pid_t child = fork();
		if (child == 0) {
			*error = try(argv[i]);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child)
			return 1;
		const char *name = strrchr(argv[i], '/') + 1;
		if (*error)
			printf("%s %s\n", name, strerrorname_np(*error));
		else if (WIFSIGNALED(status))
			printf("%s signal %d\n", name, WTERMSIG(status));
		else
			printf("%s status %d\n", name, WEXITSTATUS(status));
	}
	return 0;
}
