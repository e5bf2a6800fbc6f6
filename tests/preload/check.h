/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the programs of this folder share: an assertion that ends the program, and a few figures
 * of the process.
 *
 * cmocka is not used by them: it keeps state on the heap under test, and a failure in a thread or
 * in a forked child would unwind into the wrong place.  These programs print one line and die.
 */
#ifndef TESTS_PRELOAD_CHECK_H
#define TESTS_PRELOAD_CHECK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* check_failed says what was false and ends the process; by _exit(), so that a forked child does
 * not run its parent's exit handlers. */
__attribute__((noreturn)) static inline void check_failed(const char *file, int line,
                                                          const char *what) {
    int err = errno;
    fprintf(stderr, "%s:%d: pid %d: not so: %s (errno %d, %s)\n", file, line, (int)getpid(), what,
            err, strerror(err));
    _exit(1);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_failed(__FILE__, __LINE__, #condition);                                          \
    } while (0)

/* A small pseudo-random sequence: the same in every run, one state per thread. */
static inline uint32_t random_next(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

/* status_kib returns a line of /proc/self/status in KiB ("VmRSS:", "VmHWM:"), 0 if there is none.
 */
static inline long status_kib(const char *key) {
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key), NULL, 10);
    }
    fclose(f);
    return kib;
}

/* fill writes a pattern that depends on the seed over n bytes; filled tells whether it is there. */
static inline void fill(void *p, size_t n, unsigned seed) {
    unsigned char *b = (unsigned char *)p;
    for (size_t i = 0; i < n; i++)
        b[i] = (unsigned char)(seed + i * 7);
}

static inline int filled(const void *p, size_t n, unsigned seed) {
    const unsigned char *b = (const unsigned char *)p;
    for (size_t i = 0; i < n; i++) {
        if (b[i] != (unsigned char)(seed + i * 7))
            return 0;
    }
    return 1;
}

#endif
