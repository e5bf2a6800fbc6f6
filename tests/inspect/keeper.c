/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose threads keep what they have freed: keeper FILE [busy].
 *
 * Each of its threads allocates objects of many sizes, frees all but every hundredth, and sleeps:
 * in a read, a poll, or a wait for a condition.  It makes FILE when all sleep.  At SIGUSR1 they
 * wake, look at what they have kept, do it all again and sleep again; then FILE is made anew.  With
 * "busy" there are threads beside them that never sleep.  It ends with 3 if an object is not as it
 * was left.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NTHREADS 10
#define NBUSY    1
#define NOBJECTS 4000

struct keeper {
    pthread_t thread;
    unsigned number;
    int wake[2]; /* a pipe */
    unsigned char *objects[NOBJECTS];
    size_t sizes[NOBJECTS];
};

static struct keeper keepers[NTHREADS + NBUSY];
static sem_t asleep;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static unsigned round_number; /* guarded by mutex */

static void look(const struct keeper *k, unsigned i) {
    for (size_t j = 0; j < k->sizes[i]; j += 61)
        if (k->objects[i][j] != (unsigned char)(k->number + i))
            _exit(3);
}

static void let_go(struct keeper *k, unsigned i) {
    look(k, i);
    free(k->objects[i]);
    k->objects[i] = NULL;
}

static void work(struct keeper *k, unsigned seed) {
    for (unsigned i = 0; i < NOBJECTS; i++) {
        if (k->objects[i] != NULL)
            let_go(k, i);
        seed = seed * 1664525 + 1013904223;
        k->sizes[i] =
            (seed >> 8) % 100 == 0 ? 40000 + (seed >> 16) % 100000 : (seed >> 12) % 3000 + 1;
        k->objects[i] = malloc(k->sizes[i]);
        if (k->objects[i] == NULL)
            _exit(4);
        memset(k->objects[i], (int)(k->number + i), k->sizes[i]);
    }
    for (unsigned i = 0; i < NOBJECTS; i++)
        if (i % 100 != 0)
            let_go(k, i);
}

/* rest sleeps, in a way that is the thread's, until it is woken. */
static void rest(struct keeper *k, unsigned now) {
    char c;
    struct pollfd p = {k->wake[0], POLLIN, 0};
    switch (k->number % 3) {
    case 0:
        pthread_mutex_lock(&mutex);
        while (round_number == now)
            pthread_cond_wait(&condition, &mutex);
        pthread_mutex_unlock(&mutex);
        return;
    case 1:
        while (poll(&p, 1, -1) != 1) {
        }
        break;
    }
    while (read(k->wake[0], &c, 1) != 1 && errno == EINTR) {
    }
}

static void *keep(void *arg) {
    struct keeper *k = arg;
    for (unsigned now = 0;; now++) {
        work(k, now * 100 + k->number);
        sem_post(&asleep);
        rest(k, now);
    }
    return NULL;
}

static void *run(void *arg) {
    for (unsigned seed = 0;; seed++)
        work(arg, seed);
    return NULL;
}

static void tell(const char *path) {
    char name[4096];
    for (int i = 0; i < NTHREADS; i++)
        sem_wait(&asleep);
    snprintf(name, sizeof name, "%s.new", path);
    FILE *f = fopen(name, "w");
    if (f == NULL || fclose(f) != 0 || rename(name, path) != 0)
        _exit(5);
}

static void wake_all(void) {
    pthread_mutex_lock(&mutex);
    round_number++;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    for (unsigned i = 0; i < NTHREADS; i++)
        if (i % 3 != 0 && write(keepers[i].wake[1], "", 1) != 1)
            _exit(6);
}

int main(int argc, char **argv) {
    sigset_t set;
    int sig;
    if (argc < 2)
        return 2;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sem_init(&asleep, 0, 0);
    for (unsigned i = 0; i < NTHREADS + (argc > 2 ? NBUSY : 0); i++) {
        keepers[i].number = i;
        if (pipe(keepers[i].wake) != 0 ||
            pthread_create(&keepers[i].thread, NULL, i < NTHREADS ? keep : run, &keepers[i]) != 0)
            return 7;
    }
    for (;;) {
        tell(argv[1]);
        if (sigwait(&set, &sig) != 0)
            return 8;
        wake_all();
    }
}
