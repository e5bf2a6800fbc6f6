/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Starts a program and says what it cost: launch RESULT [NAME=VALUE...] -- PROGRAM [ARGUMENT...]
 *
 * Into the file RESULT go the wait status, wall and CPU seconds, and the peak RSS in bytes, on one
 * line.  Python can't do this itself: the peak of a process includes that of what it was before
 * exec, which would be a copy of the interpreter.  This program is as small as can be.  The
 * variables are set for PROGRAM only, so that LD_PRELOAD is not for us.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv) {
    int program = 2, status;
    while (program < argc && strcmp(argv[program], "--") != 0)
        program++;
    if (program + 1 >= argc) {
        fprintf(stderr, "usage: launch RESULT [NAME=VALUE...] -- PROGRAM [ARGUMENT...]\n");
        return 64;
    }
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 2; i < program; i++)
            putenv(argv[i]);
        execvp(argv[program + 1], argv + program + 1);
        perror(argv[program + 1]);
        _exit(127);
    }
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
        perror("launch");
        return 1;
    }
    double wall = now() - start;
    FILE *f = fopen(argv[1], "we");
    if (f == NULL) {
        perror(argv[1]);
        return 1;
    }
    fprintf(f, "%d %.6f %.6f %ld\n", status, wall,
            seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss * 1024);
    return fclose(f) != 0;
}
