/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ten thousand threads that come and go: what their caches held must come back, or memory grows
 * with every thread that ever was.
 *
 * Each thread allocates over many size classes, frees half itself and leaves half to be freed by
 * the main thread after it has ended.
 */
#include <pthread.h>

#include "check.h"

enum { TOTAL = 10000, AT_ONCE = 8, OBJECTS = 64 };

struct task {
    uint32_t seed;
    void *left[OBJECTS / 2]; /* for the main thread to free */
};

static void *thread(void *arg) {
    struct task *task = arg;
    void *p[OBJECTS];
    for (int i = 0; i < OBJECTS; i++) {
        size_t n = random_next(&task->seed) % (i % 8 == 0 ? 20000 : 600);
        p[i] = malloc(n);
        memset(p[i], 1, n);
    }
    for (int i = 0; i < OBJECTS / 2; i++) {
        free(p[2 * i]);
        task->left[i] = p[2 * i + 1];
    }
    return NULL;
}

static void generation(uint32_t seed) {
    pthread_t t[AT_ONCE];
    struct task task[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        task[i].seed = seed + (uint32_t)i;
        CHECK(pthread_create(&t[i], NULL, thread, &task[i]) == 0);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        CHECK(pthread_join(t[i], NULL) == 0);
        for (int k = 0; k < OBJECTS / 2; k++)
            free(task[i].left[k]);
    }
}

int main(void) {
    long early = 0;
    for (int i = 0; i < TOTAL / AT_ONCE; i++) {
        generation((uint32_t)i * AT_ONCE + 1);
        if (i == TOTAL / AT_ONCE / 10)
            early = status_kib("VmRSS:");
    }
    long late = status_kib("VmRSS:");
    fprintf(stderr, "RSS after a tenth of the threads %ld KiB, after all %ld KiB\n", early, late);
    CHECK(late < early + 16 * 1024);
    return 0;
}
