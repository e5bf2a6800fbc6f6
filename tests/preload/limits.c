/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Under a limit of address space: limits.c use|exhaust|mixed|ask
 *
 * use      works in a space of 2 GiB (ulimit -v 2097152), and of 900 MiB, threads included
 * exhaust  takes memory until there is none, in small and in large pieces: ENOMEM, never a crash;
 *          after giving it back there is memory again
 * mixed    takes all there is in pieces of all sizes, frees every other one, and takes all again:
 * the allocator must find room for its own lists too ask      with so little that the allocator
 * itself may not start: memory or ENOMEM, no crash
 */
#include <pthread.h>
#include <sys/resource.h>

#include "check.h"

static void *thread(void *unused) {
    (void)unused;
    for (int i = 0; i < 10000; i++)
        free(malloc((size_t)i));
    return malloc(10);
}

static void use(void) {
    enum { N = 2000, SIZE = 50000 };
    static char *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = malloc(SIZE);
        CHECK(p[i] != NULL);
        fill(p[i], SIZE, (unsigned)i);
    }
    for (int i = 0; i < 4; i++) {
        pthread_t t;
        void *last;
        CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
        CHECK(pthread_join(t, &last) == 0 && last != NULL);
        free(last);
    }
    for (int i = 0; i < N; i++) {
        CHECK(filled(p[i], SIZE, (unsigned)i));
        free(p[i]);
    }
    char *large = malloc(300u << 20);
    CHECK(large != NULL);
    large[(300u << 20) - 1] = 1;
    free(large);
}

/* A chain of objects of n bytes as long as there are any; returns their number, and frees them. */
static size_t take_all(size_t n) {
    struct link {
        struct link *next;
    } *head = NULL, *p;
    size_t count = 0;
    errno = 0;
    while ((p = malloc(n)) != NULL) {
        p->next = head;
        head = p;
        count++;
    }
    CHECK(errno == ENOMEM);
    errno = 0;
    CHECK(calloc(1, 1u << 30) == NULL && errno == ENOMEM);
    void *q = NULL;
    CHECK(posix_memalign(&q, 4096, 1u << 30) == ENOMEM);
    while (head != NULL) {
        p = head->next;
        free(head);
        head = p;
    }
    return count;
}

enum { ROOM = 300 << 20 }; /* bytes of address space beyond what is mapped already */

static void limit_to(size_t room) {
    rlim_t bytes = ((rlim_t)status_kib("VmSize:") << 10) + room;
    struct rlimit limit = {bytes, bytes};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* Sizes of all classes, 8 bytes to 32 KiB, by and by. */
static size_t size_of(int i) {
    size_t size = (size_t)8 << i % 12;
    return size + size / 8 * (size_t)(i / 12 % 8);
}

static void mixed(void) {
    enum { N = 100000, STEPS = 1000000 };
    static void *p[N];
    uint32_t seed = 1;
    int n = 0, failed = 0;
    limit_to(ROOM / 16);
    for (int i = 0; i < STEPS; i++) {
        uint32_t k = random_next(&seed) % N;
        if (p[k] != NULL && (i >> 17) % 2 != 0) {
            free(p[k]);
            p[k] = NULL;
        } else if (p[k] == NULL) {
            p[k] = malloc(size_of((int)k));
            n += p[k] != NULL;
            failed += p[k] == NULL;
        }
    }
    fprintf(stderr, "%d objects, %d refused\n", n, failed);
    CHECK(n > 1000 && failed > 0);
    for (int i = 0; i < N; i++)
        free(p[i]);
}

static void exhaust(void) {
    static const size_t sizes[] = {1 << 20, 100000, 5000, 200, 64};
    limit_to(ROOM);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t n = take_all(sizes[i]);
            fprintf(stderr, "%zu objects of %zu bytes\n", n, sizes[i]);
            CHECK(n > 0);
            CHECK(n * sizes[i] <= ROOM + (64u << 20));
        }
    }
    char *p = malloc(1000);
    CHECK(p != NULL);
    free(p);
}

static void ask(void) {
    for (size_t n = 1; n < (64u << 20); n *= 2) {
        errno = 0;
        char *p = malloc(n);
        CHECK(p != NULL || errno == ENOMEM);
        if (p != NULL)
            p[n - 1] = 1;
        free(p);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (strcmp(argv[1], "use") == 0)
        use();
    else if (strcmp(argv[1], "exhaust") == 0)
        exhaust();
    else if (strcmp(argv[1], "mixed") == 0)
        mixed();
    else
        ask();
    return 0;
}
