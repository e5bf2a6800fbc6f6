/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose resident set has known parts: resident_demo FILE [fork|sparse].
 *
 * 50 threads with 64 KiB of stack each, 24 MiB of anonymous memory that is written and 40 MiB that
 * are only read, 8 MiB of shared memory, 30 MiB of objects, a third of which are freed.  It makes
 * FILE when all is there, and then changes nothing; with "fork" a child does so, and FILE has its
 * pid.  With "sparse" there are an object of 1 GiB and a mapping of 10 GiB besides, of each of
 * which 100 pages are written.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NTHREADS 50
#define STACK    (64 << 10)
#define NOBJECTS 30000
#define OBJECT   1000

static sem_t there;

static void touch(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p)); /* or the compiler does without */
    free(p);
}

static void *thread(void *arg) {
    char stack[STACK];
    memset(stack, 1, sizeof(stack));
    __asm__ volatile("" : : "r"(stack) : "memory");
    touch(100);
    sem_post(&there);
    for (;;)
        pause();
    return arg;
}

static char *map(size_t n, int flags) {
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static void make_objects(void) {
    static char *objects[NOBJECTS];
    for (size_t i = 0; i < NOBJECTS; i++)
        memset(objects[i] = malloc(OBJECT), 1, OBJECT);
    for (size_t i = 0; i < NOBJECTS; i += 3)
        free(objects[i]);
}

static void fill_mappings(void) {
    size_t read_only = 40 << 20;
    volatile char *p = map(read_only, MAP_PRIVATE);
    unsigned sum = 0;
    for (size_t i = 0; i < read_only; i += 4096)
        sum += (unsigned char)p[i];
    if (sum != 0)
        abort();
    memset(map(24 << 20, MAP_PRIVATE), 1, 24 << 20);
    memset(map(8 << 20, MAP_SHARED), 1, 8 << 20);
}

/* touch_some writes 100 pages of n bytes. */
static void touch_some(char *p, size_t n) {
    for (size_t i = 0; i < 100; i++)
        p[i * (n / 100) & ~(size_t)4095] = 1;
}

static void make_sparse(void) {
    static char *object;
    object = malloc((size_t)1 << 30);
    if (object == NULL)
        abort();
    touch_some(object, (size_t)1 << 30);
    touch_some(map((size_t)10 << 30, MAP_PRIVATE | MAP_NORESERVE), (size_t)10 << 30);
}

static void start_threads(void) {
    pthread_t t;
    sem_init(&there, 0, 0);
    for (int i = 0; i < NTHREADS; i++)
        if (pthread_create(&t, NULL, thread, NULL) != 0)
            abort();
    for (int i = 0; i < NTHREADS; i++)
        sem_wait(&there);
}

int main(int argc, char **argv) {
    char name[4096];
    if (argc < 2)
        return 2;
    make_objects();
    /* From now on what is touched is resident, and no more of two MiB than that. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    fill_mappings();
    start_threads();
    if (argc > 2 && strcmp(argv[2], "sparse") == 0)
        make_sparse();
    else if (argc > 2 && fork() > 0)
        for (;;)
            pause();
    snprintf(name, sizeof(name), "%s.new", argv[1]);
    FILE *f = fopen(name, "w");
    if (f == NULL)
        return 1;
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
    rename(name, argv[1]);
    for (;;) { /* a forked child has its agent some time after, from the slow path of malloc */
        usleep(20000);
        touch(3 << 20);
    }
}
