/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Option thp: huge_pages.c on|off: 64 MiB of objects are backed by huge pages, or none is, as far
 * as the kernel has them (tests/preload skips this otherwise); and freed ones read as zero again.
 */
#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"

enum { N = 512, SIZE = 128 << 10 };

/* The bytes of huge pages that the mapping around p has. */
static size_t huge_bytes(const void *p) {
    FILE *f = fopen("/proc/self/smaps", "re");
    CHECK(f != NULL);
    char line[512];
    bool there = false;
    size_t found = 0, from, to, kib;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%zx-%zx ", &from, &to) == 2)
            there = (size_t)p - from < to - from;
        else if (there && sscanf(line, "AnonHugePages: %zu kB", &kib) == 1)
            found += kib << 10;
    }
    fclose(f);
    return found;
}

/* Whether it would give them to who asks, in mode on, and only to such, in mode off. */
static bool kernel_obeys(const char *mode) {
    char text[64] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (f != NULL && fgets(text, sizeof text, f) == NULL)
        text[0] = '\0';
    if (f != NULL)
        fclose(f);
    return strstr(text, "[madvise]") != NULL ||
           (strcmp(mode, "on") == 0 && strstr(text, "[always]") != NULL);
}

/* Whether it has any left: memory may be in pieces. */
static bool kernel_has_one(void) {
    size_t n = (size_t)N * SIZE;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    madvise(p, n, MADV_HUGEPAGE);
    memset(p, 1, n);
    bool found = huge_bytes(p) != 0;
    munmap(p, n);
    return found;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (!kernel_obeys(argv[1]) || (strcmp(argv[1], "on") == 0 && !kernel_has_one()))
        return 77;
    static char *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = malloc(SIZE);
        CHECK(p[i] != NULL);
        fill(p[i], SIZE, (unsigned)i);
    }
    size_t huge = huge_bytes(p[N / 2]);
    CHECK(strcmp(argv[1], "on") == 0 ? huge >= (size_t)2 << 20 : huge == 0);
    for (int i = 0; i < N; i++) {
        CHECK(filled(p[i], SIZE, (unsigned)i));
        free(p[i]);
    }
    char *cleared = calloc(1, (size_t)48 << 20);
    CHECK(cleared != NULL);
    for (size_t i = 0; i < (size_t)48 << 20; i++)
        CHECK(cleared[i] == 0);
    free(cleared);
    return 0;
}
