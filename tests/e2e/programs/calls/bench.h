/* What the rows of the table of calls stand on. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

/* Does what is measured so many times. */
typedef void body(long times);

/* What an operation takes. */
struct cost {
    double ticks;
    double nanoseconds;
};

/* The counters now: the processor's, which QEMU's -icount advances by one with each instruction, and the clock. */
struct cost now(void);

/* Prints a row `name <tab> ticks <tab> nanoseconds`. */
void print_row(const char *name, struct cost cost);

/* Prints the least that some rounds of `run` took, by operation; `times` runs do `operations` of them. */
void measure(const char *name, long times, double operations, body *run);

/* Whether the arguments ask for a row of this name, for what has to be prepared. */
int wanted(const char *name);

/* Ends the program unless a call succeeded. */
#define must(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* The groups of rows, one file each. */
void calls(void);
void signals(void);
void processes(void);
void messages(void);
void memory(void);
void files(void);
