/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hostile images.  Whatever the bytes, the reader must refuse them or take them, and if it takes
 * them every query over them must end: no crash, no endless loop.
 *
 * Two faces of one file.  With libFuzzer (preset fuzz) it is a fuzz target.  Alone it is
 *
 *      image_mutate N [SEED]
 *
 * which makes N mutations of a good image, by a generator that depends on nothing but SEED, and
 * opens each; with half of them the checksums are repaired, so that the checks behind them are what
 * is tested.  Half of the changes are made in a section that is chosen first, since the small ones
 * would hardly ever be hit otherwise.  Of those that are accepted it walks every object and stack,
 * and asks some of the virtual tables and views.  The last line says how many were accepted; a
 * failure prints the number of the mutation, which `image_mutate N SEED only` repeats alone.
 *
 * It fails as well if it has not got deep: if there is a section with records of which no change
 * was accepted, or none was refused where some must be.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/code.h"
#include "db/db.h"
#include "image/image.h"
#include "maker.h"

/* What one accepted image is asked by SQL: each table once, the joins, the recursive views. */
static const char *const queries[] = {
    "SELECT count(*), sum(length(bitmap)) FROM image_span",
    "SELECT sum(live_objects), sum(live_bytes), group_concat(location) FROM v1_site",
    "SELECT count(*), max(text) FROM v1_stack",
    "SELECT sum(span_pages) FROM v1_arena",
    "SELECT count(holds) FROM v1_balance",
    "SELECT count(value) FROM v1_status",
    "SELECT count(*), max(map) FROM v1_chunk",
    "SELECT count(*) FROM v1_page_level",
    "SELECT max(owner), count(place) FROM v1_span",
    "SELECT count(function) FROM v1_object",
    "SELECT max(cmdline), max(captured_utc) FROM v1_snapshot",
    "SELECT max(name) FROM v1_thread, v1_memory, v1_counter",
    "SELECT max(path), max(build_id) FROM v1_mapping",
    "SELECT count(page_cache_free), sum(kept_bytes) FROM v1_cache",
    "SELECT count(current), sum(free_bytes) FROM v1_cache_class",
    "SELECT sum(free_bytes) FROM v1_central",
    "SELECT max(search_address), max(time_percent) FROM v1_heap, v1_scavenger",
    "SELECT sum(bytes), max(from_state) FROM v1_transition",
    "SELECT max(text), max(suggestion), max(owner_location) FROM v1_escape",
    "SELECT count(*), max(freed_by) FROM v1_handover, v1_outlived",
    "SELECT max(points), max(bytes_per_hour) FROM v1_site_trend",
    "SELECT max(age_s), max(function) FROM v1_leak",
    "SELECT max(incomplete), max(kind), sum(bytes) FROM v1_leak_check, v1_root, v1_leak_site",
    "SELECT max(kind), max(holder), max(function), sum(bytes) FROM v1_held",
    "SELECT sum(bytes), max(function) FROM v1_pin",
    "SELECT sum(bytes), max(function) FROM v1_pin_arena, v1_pin_huge",
    "SELECT sum(bytes), max(share_percent) FROM v1_resident",
    "SELECT sum(wasted_bytes), max(frag_percent) FROM v1_fragmentation",
};

static void walk(const struct image *im) {
    struct image_object_iter it;
    struct image_object o, again;
    size_t n;
    volatile char sink;
    image_object_begin(im, &it);
    while (image_object_next(&it, &o)) {
        if (!image_object_at(im, o.address, &again) || again.slot != o.slot)
            abort();
        if (o.site && image_find(im, GOMALLOC_SECTION_SITE, o.site) == SIZE_MAX)
            abort();
    }
    const struct gomalloc_frame *frames = image_section(im, GOMALLOC_SECTION_FRAME, &n);
    for (size_t i = 0; i < n; i++)
        for (uint32_t node = (uint32_t)i + 1; node; node = frames[node - 1].parent)
            sink = (char)frames[node - 1].pc;
    const struct gomalloc_process *p = image_process(im);
    sink = image_string(im, p->exe_str)[0];
    (void)sink;
}

static void ask(const struct image *im) {
    sqlite3 *db;
    char err[256];
    if (db_open_image(im, &db, err, sizeof err))
        return;
    /* A query may fail (a sum beyond 2^63), but it must end. */
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        sqlite3_exec(db, queries[i], NULL, NULL, NULL);
    db_close(db);
}

/* try_image returns whether the bytes were taken for an image. */
static bool try_image(const uint8_t *bytes, size_t size, bool sql) {
    struct image *im = NULL;
    char err[256] = "";
    int rc = image_open_memory(bytes, size, &im, err, sizeof err);
    if (rc) {
        if (err[0] == '\0' || strchr(err, '\n'))
            abort(); /* each refusal is explained in one line */
        return false;
    }
    walk(im);
    if (sql)
        ask(im);
    image_close(im);
    return true;
}

#ifdef IMAGE_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_image(data, size, true);
    return 0;
}

/* Mutations that the checksums give away would never get deep. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, max);
    if (seed % 8)
        image_repair(data, size);
    return size;
}

#else

static uint64_t random_state;

static uint64_t random_next(void) {
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t n) {
    return n ? (size_t)(random_next() % n) : 0;
}

/* Figures at which length checks go wrong. */
static uint64_t nasty(void) {
    static const uint64_t figures[] = {0,
                                       1,
                                       2,
                                       7,
                                       8,
                                       63,
                                       64,
                                       8191,
                                       8192,
                                       INT32_MAX,
                                       UINT32_MAX,
                                       INT64_MAX,
                                       INT64_MIN,
                                       UINT64_MAX,
                                       UINT64_MAX - 1,
                                       1 << 20,
                                       UINT64_MAX - 7};
    size_t k = sizeof figures / sizeof figures[0];
    size_t i = below(k + 4);
    return i < k ? figures[i] : below(1000);
}

/* The directory of the good image. */
static const struct gomalloc_section *directory;
static uint32_t nsections;

/* place chooses a byte to change: any, or one of a section's records. */
static size_t place(size_t size) {
    const struct gomalloc_section *s = &directory[below(nsections)];
    size_t length = s->count * s->record_size;
    if (random_next() % 2 == 0 || length == 0 || s->offset + length > size)
        return below(size);
    return s->offset + below(length);
}

static void mutate_once(uint8_t *bytes, size_t *size) {
    size_t at = place(*size);
    uint64_t figure = nasty();
    switch (below(8)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        bytes[at] = (uint8_t)random_next();
        break;
    case 2: /* a 64-bit field */
        at &= ~(size_t)7;
        memcpy(bytes + at, &figure, 8);
        break;
    case 3: /* a 32-bit field */
        at &= ~(size_t)3;
        memcpy(bytes + at, &figure, 4);
        break;
    case 4: /* a field is some others' */
        memcpy(bytes + (at & ~(size_t)7), bytes + (below(*size) & ~(size_t)7), 8);
        break;
    case 5: /* of the header or the directory */
        at = below(sizeof(struct gomalloc_image) +
                   GOMALLOC_NSECTIONS * sizeof(struct gomalloc_section)) &
             ~(size_t)7;
        memcpy(bytes + at, &figure, 8);
        break;
    case 6: { /* one more or less */
        uint64_t word;
        memcpy(&word, bytes + (at & ~(size_t)7), 8);
        word += random_next() % 2 ? 1 : UINT64_MAX;
        memcpy(bytes + (at & ~(size_t)7), &word, 8);
        break;
    }
    case 7:
        if (below(16) == 0)
            *size = at & ~(size_t)7;
        break;
    }
    if (*size < 16)
        *size = 16;
}

#define ENOUGH 10000 /* mutations, to have tried each section */

/* How far the mutations got that changed one section, and whose checksums were repaired. */
static unsigned long taken_of[GOMALLOC_NSECTIONS], refused_of[GOMALLOC_NSECTIONS];

/* changed_section returns the only section whose records differ, or -1. */
static int changed_section(const uint8_t *good, const uint8_t *bytes) {
    int found = -1;
    for (uint32_t i = 0; i < nsections; i++) {
        const struct gomalloc_section *s = &directory[i];
        if (memcmp(good + s->offset, bytes + s->offset, s->count * s->record_size) == 0)
            continue;
        if (found >= 0)
            return -1;
        found = (int)i;
    }
    return found;
}

/* got_deep says which sections the checks were not tried by, neither to accept nor to refuse. */
static bool got_deep(void) {
    bool deep = true;
    unsigned refusing = 0;
    for (uint32_t i = 0; i < nsections; i++) {
        refusing += refused_of[i] != 0;
        if (directory[i].count == 0 || taken_of[i])
            continue;
        fprintf(stderr, "image_mutate: no change of section %.16s was accepted\n",
                directory[i].name);
        deep = false;
    }
    if (refusing < nsections / 2)
        fprintf(stderr, "image_mutate: changes of only %u sections were refused\n", refusing);
    return deep && refusing >= nsections / 2;
}

static volatile unsigned long current; /* mutation */

/* report says which mutation it was, in a signal handler. */
static void report(int sig) {
    static const char text[] = "image_mutate: aborted or timed out in mutation ";
    char digits[24];
    size_t at = sizeof digits;
    unsigned long n = current;
    (void)sig;
    digits[--at] = '\n';
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    (void)!write(2, text, sizeof text - 1);
    (void)!write(2, digits + at, sizeof digits - at);
    _exit(1);
}

/* mutation makes mutation n of the good image and tries it. */
static bool mutation(unsigned long n, uint64_t seed, const uint8_t *good, size_t size,
                     uint8_t *bytes) {
    current = n;
    random_state = seed * UINT64_C(0x100000001b3) + n;
    memcpy(bytes, good, size);
    size_t length = size;
    for (size_t i = 1 + below(3); i > 0; i--)
        mutate_once(bytes, &length);
    if (n % 2)
        image_repair(bytes, length);
    alarm(600); /* an endless loop is a failure, not a wait */
    bool taken = try_image(bytes, length, n % 512 == 1);
    int section = n % 2 && length == size ? changed_section(good, bytes) : -1;
    if (section >= 0)
        (taken ? taken_of : refused_of)[section]++;
    return taken;
}

int main(int argc, char **argv) {
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    struct demo d = demo_default;
    size_t size;
    d.other_numbers = true;
    d.leaks = true;
    uint8_t *good = demo_image(&d, &size), *bytes = malloc(size);
    signal(SIGABRT, report);
    signal(SIGALRM, report);
    if (!bytes || !try_image(good, size, true)) {
        fputs("image_mutate: the good image is refused\n", stderr);
        return 2;
    }
    const struct gomalloc_image *header = (const void *)good;
    directory = (const void *)(good + header->header_size);
    nsections = header->nsections;
    unsigned long accepted = 0, unseen = 0;
    for (unsigned long n = argc > 3 ? count : 0; n < count + (argc > 3); n++) {
        bool taken = mutation(n, seed, good, size, bytes);
        accepted += taken;
        /* Without repair only the mutation that changed nothing may pass. */
        unseen += taken && n % 2 == 0 && memcmp(bytes, good, size) != 0;
    }
    printf("%lu mutations, %lu accepted, %lu changes unseen\n", count, accepted, unseen);
    bool deep = argc > 3 || count < ENOUGH || got_deep();
    free(bytes);
    free(good);
    return unseen != 0 || !deep;
}

#endif
