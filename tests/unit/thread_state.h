/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a thread of this process is doing, as the kernel tells it: so that a test can wait until a
 * thread waits or has ended, however long that takes.
 */
#ifndef GM_TESTS_THREAD_STATE_H
#define GM_TESTS_THREAD_STATE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

/* thread_state returns the letter of its state ('S': it waits, 'Z': it has ended), '?': none. */
static inline char thread_state(pid_t tid) {
    char name[64], text[512] = "";
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", (int)tid);
    FILE *f = fopen(name, "re");
    if (f == NULL)
        return '?';
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    return p != NULL && p[1] == ' ' ? p[2] : '?';
}

/* thread_has_signal tells whether a signal that was sent to the thread itself waits. */
static inline bool thread_has_signal(pid_t tid, int sig) {
    char name[64], line[256];
    unsigned long long pending = 0;
    snprintf(name, sizeof name, "/proc/self/task/%d/status", (int)tid);
    FILE *f = fopen(name, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        sscanf(line, "SigPnd: %llx", &pending);
    if (f != NULL)
        fclose(f);
    return (pending >> (sig - 1) & 1) != 0;
}

#endif
