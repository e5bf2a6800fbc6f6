/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The end of a thread: destructors of thread-specific data and of thread-local objects that
 * allocate and free, more than once, before and after the allocator has put the thread's cache
 * away; pthread_cancel with clean-up handlers; pthread_exit from main.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { KEYS = 40, THREADS = 200, ROUNDS = 3 };

static pthread_key_t key[KEYS];
static atomic_int destroyed, cleaned;

struct value {
    int round; /* how often the destructor has set it again */
    char text[120];
};

static struct value *make_value(int round) {
    struct value *v = malloc(sizeof *v);
    v->round = round;
    fill(v->text, sizeof v->text, (unsigned)round);
    return v;
}

/* Sets itself again, so that glibc calls it in several rounds. */
static void destructor(void *arg) {
    struct value *v = arg;
    int round = v->round;
    CHECK(filled(v->text, sizeof v->text, (unsigned)round));
    free(v);
    free(malloc(100000));
    atomic_fetch_add(&destroyed, 1);
    if (round < ROUNDS)
        CHECK(pthread_setspecific(key[round], make_value(round + 1)) == 0);
}

static void *with_keys(void *arg) {
    (void)arg;
    for (int i = 0; i < KEYS; i++)
        CHECK(pthread_setspecific(key[i], make_value(ROUNDS)) == 0);
    free(pthread_getspecific(key[0]));
    CHECK(pthread_setspecific(key[0], make_value(0)) == 0);
    return strdup("a thread's last object");
}

static void clean(void *object) {
    CHECK(filled(object, 64, 6));
    free(object);
    free(malloc(3000));
    atomic_fetch_add(&cleaned, 1);
}

static void *to_be_cancelled(void *barrier) {
    char *object = malloc(64);
    fill(object, 64, 6);
    pthread_cleanup_push(clean, object);
    pthread_barrier_wait(barrier);
    for (;;) {
        free(malloc(50));
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

static void *after_main(void *unused) {
    (void)unused;
    usleep(1000); /* main has most likely ended, but nothing depends on it */
    for (int i = 0; i < 1000; i++)
        free(malloc((size_t)i));
    printf("the last thread\n");
    fflush(stdout);
    return NULL;
}

int main(void) {
    for (int i = 0; i < KEYS; i++)
        CHECK(pthread_key_create(&key[i], destructor) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_t t;
        void *text;
        CHECK(pthread_create(&t, NULL, with_keys, NULL) == 0);
        CHECK(pthread_join(t, &text) == 0);
        CHECK(strcmp(text, "a thread's last object") == 0);
        free(text);
    }
    CHECK(atomic_load(&destroyed) == THREADS * (KEYS + ROUNDS));
    for (int i = 0; i < THREADS; i++) {
        pthread_t t;
        pthread_barrier_t barrier;
        void *result;
        CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
        CHECK(pthread_create(&t, NULL, to_be_cancelled, &barrier) == 0);
        pthread_barrier_wait(&barrier);
        CHECK(pthread_cancel(t) == 0);
        CHECK(pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);
    }
    CHECK(atomic_load(&cleaned) == THREADS);
    pthread_t t;
    CHECK(pthread_create(&t, NULL, after_main, NULL) == 0);
    pthread_exit(NULL);
}
