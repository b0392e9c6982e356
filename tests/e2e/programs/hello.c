/* Says hello, and where its parts lie: the C library works, and addresses are random where they should be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int initialised = 42;

int main(int argc, char **argv)
{
	char *copy = strdup("hello");
	printf("%s from %s with %d arguments\n", copy, argv[0], argc - 1);
	for (int i = 1; i < argc; i++)
		printf("%s\n", argv[i]);
	free(copy);
	return initialised == 42 ? 0 : 1;
}
