/* A program to be looked at by a debugger. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

volatile int counter;

static int third(int value) {
    counter += value;
    return value * 2;
}

static int second(int value) {
    int doubled = third(value + 1);
    return doubled + 1;
}

static void *work(void *argument) {
    return (void *)(long)second(*(int *)argument);
}

static void handle(int signal) {
    counter += signal;
}

int main(int count, char **words) {
    (void)words;
    int result = second(count + 4);
    printf("result %d\n", result);
    fflush(stdout);
    signal(SIGUSR1, handle);
    raise(SIGUSR1);
    pthread_t thread;
    pthread_create(&thread, NULL, work, &result);
    void *of_thread;
    pthread_join(thread, &of_thread);
    printf("thread %ld, counter %d\n", (long)of_thread, counter);
    return 42;
}
