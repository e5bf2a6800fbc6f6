/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that capture stacks, for tests.
 *
 * Under ThreadSanitizer a thread that has used libunwind must not end: the destructor of
 * libunwind's per-thread cache locks a mutex when the sanitizer's state of the thread is gone
 * already, and crashes.  So there it sleeps instead, and nobody joins.
 */
#ifndef CAPTURE_THREAD_H
#define CAPTURE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define CAPTURE_THREAD_SLEEPS true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAPTURE_THREAD_SLEEPS true
#endif
#endif
#ifndef CAPTURE_THREAD_SLEEPS
#define CAPTURE_THREAD_SLEEPS false
#endif

struct capture_thread {
    bool (*run)(void *arg); /* false: the test has failed */
    void *arg;
    atomic_int state; /* 0 = running, 1 = succeeded, 2 = failed */
};

static inline void *capture_thread_main(void *arg) {
    struct capture_thread *t = arg;
    atomic_store(&t->state, t->run(t->arg) ? 1 : 2);
    while (CAPTURE_THREAD_SLEEPS)
        pause();
    return NULL;
}

static inline bool capture_thread_start(struct capture_thread *t) {
    pthread_t id;
    return pthread_create(&id, NULL, capture_thread_main, t) == 0 && pthread_detach(id) == 0;
}

static inline bool capture_thread_succeeds(struct capture_thread *t) {
    while (atomic_load(&t->state) == 0)
        usleep(1000);
    return atomic_load(&t->state) == 1;
}

#endif
