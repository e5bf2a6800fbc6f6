/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What an operation and a live byte cost as the heap grows, MIB by MIB (ascending):
 *
 *      growth objects MIB...    prints MIB OBJECTS FILL LOCAL RANDOM OVERHEAD META for each
 *      growth pages MIB...      prints MIB OBJECTS PAGES for each
 *
 *   FILL      ns for a malloc on the way there, the kernel's page faults included
 *   LOCAL     ns for a free and a malloc of 64 objects that were made one after the other, at a
 *             random place of the heap: what the allocator adds as the heap grows, since the
 *             processor's own misses are shared by 64
 *   RANDOM    ns for a free and a malloc of one object at random: in a large heap each is a miss or
 *             two of the caches and the TLB, whoever wrote the allocator
 *   OVERHEAD  resident bytes beyond what the program asked for, for each byte that it has
 *   META      of these, those that lie outside of the objects' own pages, where that can be told
 *             (gomalloc's arenas begin at 0xc000000000), else -1
 *   PAGES     ns for a malloc and a free of 72 KiB to 1 MiB, 64 live, one at random is freed: the
 *             cost of finding pages
 *
 * "objects" are of 16 to 1,024 bytes, sizes for which all allocators have a class, so that none is
 * charged for rounding up; every page is touched, as small objects are written to in real life.
 * "pages" fills the heap with objects of 40 KiB, of which one byte is touched (so ten times less
 * memory is needed), and frees every eighth, which leaves holes all over the heap that are too
 * small. The table of pointers is mapped by hand and not counted.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static const size_t sizes[] = {16, 32, 48, 64, 80, 96, 112, 128, 256, 512, 1024};
enum { NSIZES = sizeof sizes / sizeof sizes[0], RUN = 64, LARGE = 64, PAGES_OBJECT = 40 << 10 };

static void **object;
static size_t nobjects, live_bytes;
static uint64_t seed = 88172645463325252u;

static uint64_t random_next(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int pages; /* the second form */

/* The i-th object's size, for ever the same. */
static size_t size_of(size_t i) {
    return pages ? (size_t)PAGES_OBJECT : sizes[(i * 2654435761u >> 7) % NSIZES];
}

static void *make(size_t n) {
    char *p = malloc(n);
    if (p == NULL) {
        fprintf(stderr, "growth: out of memory\n");
        exit(1);
    }
    *p = 1;
    return p;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Resident bytes of the process, and of it those in mappings of gomalloc's arenas.  Reading this
 * does not use the heap: stdio's buffer is ours. */
static size_t resident(size_t *ret_arenas) {
    static char buffer[65536];
    char line[512];
    size_t total = 0, arenas = 0;
    unsigned long from = 0, to, kib;
    FILE *f = fopen("/proc/self/smaps", "re");
    if (f == NULL)
        exit(1);
    setvbuf(f, buffer, _IOFBF, sizeof buffer);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "Rss: %lu", &kib) == 1) {
            total += kib << 10;
            arenas += from >= 0xc000000000 && from < 0x10000000000 ? kib << 10 : 0;
        } else {
            sscanf(line, "%lx-%lx ", &from, &to);
        }
    }
    fclose(f);
    *ret_arenas = arenas;
    return total;
}

static double fill(size_t target) {
    size_t before = nobjects;
    double start = now();
    while (live_bytes < target) {
        object[nobjects] = make(size_of(nobjects));
        live_bytes += size_of(nobjects++);
    }
    return (now() - start) / (double)(nobjects - before);
}

static double turn_over(size_t run, size_t count) {
    double start = now();
    for (size_t done = 0; done < count; done += run) {
        size_t first = random_next() % (nobjects - run);
        for (size_t i = first; i < first + run; i++)
            free(object[i]);
        for (size_t i = first; i < first + run; i++)
            object[i] = make(size_of(i));
    }
    return (now() - start) / (double)count;
}

static double large(size_t count) {
    void *live[LARGE] = {0};
    double start = now();
    for (size_t done = 0; done < count; done++) {
        void **p = &live[random_next() % LARGE];
        free(*p);
        *p = make((72 << 10) + random_next() % (952 << 10));
    }
    double took = now() - start;
    for (size_t i = 0; i < LARGE; i++)
        free(live[i]);
    return took / (double)count;
}

static void make_table(double most_mib) {
    size_t mean = 0;
    for (size_t i = 0; i < NSIZES; i++)
        mean += sizes[i] / NSIZES;
    size_t n = (size_t)(most_mib * 1048576) / mean * 5 / 4 + 65536;
    object = mmap(NULL, n * sizeof *object, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (object == MAP_FAILED)
        exit(1);
}

/* Makes holes: every eighth of the objects from the first-th on is freed. */
static void thin_out(size_t first) {
    for (size_t i = first; i < nobjects; i += 8) {
        free(object[i]);
        object[i] = NULL;
    }
}

static void step_pages(const char *mib, size_t n) {
    size_t before = nobjects;
    fill((size_t)(atof(mib) * 1048576));
    thin_out(before);
    large(n / 40); /* so that the holes' surroundings are as they stay */
    printf("%s %zu %.2f\n", mib, nobjects, large(n / 20));
}

static void step_objects(const char *mib, size_t n, size_t start, size_t arenas0) {
    double t_fill = fill((size_t)(atof(mib) * 1048576));
    double t_local = turn_over(RUN, n), t_random = turn_over(1, n);
    size_t arenas, all = resident(&arenas) - start - nobjects * sizeof *object;
    double over = ((double)all - (double)live_bytes) / (double)live_bytes;
    double meta = (double)all - (double)(arenas - arenas0);
    printf("%s %zu %.2f %.2f %.2f %.5f %.5f\n", mib, nobjects, t_fill, t_local, t_random, over,
           arenas0 != 0 ? meta / (double)live_bytes : -1.0);
}

int main(int argc, char **argv) {
    const char *scale = getenv("GROWTH_OPERATIONS");
    size_t n = scale != NULL ? (size_t)atol(scale) : 400000, arenas;
    if (argc < 3)
        return 64;
    pages = strcmp(argv[1], "pages") == 0;
    make_table(atof(argv[argc - 1]));
    free(make(100)); /* so that the library has begun */
    size_t start = resident(&arenas);
    for (int i = 2; i < argc; i++) {
        if (pages)
            step_pages(argv[i], n);
        else
            step_objects(argv[i], n, start, arenas);
        fflush(stdout);
    }
    return 0;
}
