/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small reader of heap images for tests.
 */
#include "image_checker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_WORDS 8
#define PAGE        8192u

static const struct {
    const char *name;
    size_t record_size;
} kinds[] = {
#define KIND(id, name, type) {name, sizeof(type)},
    GOMALLOC_SECTIONS(KIND)
#undef KIND
};

/* The checksum as the header describes it, in other words than there. */
static uint64_t checksum(const char *p, size_t n) {
    uint64_t h = 0, w;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        w ^= h;
        h = (w << 29 | w >> 35) * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    }
    assert_int_equal(n, 0);
    return h;
}

static void read_all(int fd, struct checked_image *im) {
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    im->size = (size_t)st.st_size;
    im->bytes = malloc(im->size + 1);
    assert_non_null(im->bytes);
    for (size_t n = 0; n < im->size;) {
        ssize_t r = pread(fd, im->bytes + n, im->size - n, (off_t)n);
        assert_true(r > 0);
        n += (size_t)r;
    }
}

static void check_header(struct checked_image *im) {
    struct gomalloc_image *h = (struct gomalloc_image *)im->bytes;
    assert_true(im->size >= sizeof *h);
    assert_memory_equal(h->magic, "GMIMAGE\n", 8);
    assert_int_equal(h->version, 1);
    assert_int_equal(h->header_size, 128);
    assert_int_equal(h->section_size, 64);
    assert_int_equal(h->file_size, im->size);
    assert_int_equal(h->file_size % 8, 0);
    uint64_t said = h->checksum;
    h->checksum = 0;
    assert_int_equal(checksum(im->bytes, 128 + (size_t)h->nsections * 64), said);
    h->checksum = said;
    im->header = h;
}

/* The sections follow each other in the order of their ids, without gaps. */
static void check_directory(struct checked_image *im) {
    const struct gomalloc_section *s = (const struct gomalloc_section *)(im->bytes + 128);
    uint64_t at = 128 + (uint64_t)im->header->nsections * 64;
    unsigned id = 0;
    for (unsigned i = 0; i < im->header->nsections; i++, id++) {
        while (id < GOMALLOC_NSECTIONS && strcmp(s[i].name, kinds[id].name) != 0)
            id++;
        assert_true(id < GOMALLOC_NSECTIONS);
        assert_int_equal(s[i].record_size, kinds[id].record_size);
        assert_int_equal(s[i].offset, at);
        uint64_t size = s[i].count * s[i].record_size, padded = (size + 7) / 8 * 8;
        assert_true(at + padded <= im->size);
        assert_int_equal(checksum(im->bytes + at, padded), s[i].checksum);
        for (uint64_t k = size; k < padded; k++)
            assert_int_equal(im->bytes[at + k], 0);
        im->records[id] = im->bytes + at;
        im->count[id] = s[i].count;
        at += padded;
    }
    assert_int_equal(at, im->size);
}

static bool bit(const uint64_t *words, size_t i) {
    return (words[i / 64] >> (i % 64) & 1) != 0;
}

static void check_span(const struct checked_image *im, const struct gomalloc_span *s) {
    const uint64_t *words = (const uint64_t *)im->records[GOMALLOC_SECTION_BITMAP];
    uint32_t live = 0;
    assert_true(s->bitmap_index + (s->nelems + 63) / 64 <= COUNT(im, BITMAP));
    for (uint32_t i = 0; i < s->nelems; i++)
        live += bit(words + s->bitmap_index, i);
    for (uint32_t i = s->nelems; i < (s->nelems + 63) / 64 * 64; i++)
        assert_false(bit(words + s->bitmap_index, i));
    assert_int_equal(live, s->live);
    assert_true(s->marked <= s->nelems - s->live);
    assert_true(s->elem_size * s->nelems <= s->npages * PAGE);
    assert_true(s->freeindex <= s->nelems);
    assert_true(s->large_requested <= s->elem_size);
    assert_true(s->owner < COUNT(im, THREAD) || s->owner >= GOMALLOC_OWNER_HEAP);
}

static int by_base(const void *a, const void *b) {
    const struct gomalloc_span *x = a, *y = b;
    return (x->base > y->base) - (x->base < y->base);
}

static void check_no_overlap(const struct checked_image *im) {
    size_t n = COUNT(im, SPAN);
    struct gomalloc_span *s = calloc(n + 1, sizeof *s);
    if (n != 0)
        memcpy(s, im->records[GOMALLOC_SECTION_SPAN], n * sizeof *s);
    qsort(s, n, sizeof *s, by_base);
    for (size_t i = 1; i < n; i++)
        assert_true(s[i - 1].base + s[i - 1].npages * PAGE <= s[i].base);
    free(s);
}

static void check_slots(const struct checked_image *im, const struct gomalloc_span *s) {
    const struct gomalloc_slot *slot = RECORDS(im, SLOT, gomalloc_slot);
    if (s->slot_index == GOMALLOC_NO_SLOTS)
        return;
    assert_true(s->slot_index + s->nelems <= COUNT(im, SLOT));
    for (uint32_t i = 0; i < s->nelems; i++) {
        assert_true(slot[s->slot_index + i].site <= COUNT(im, SITE));
        assert_true(slot[s->slot_index + i].slack <= s->elem_size);
    }
}

static void check_stacks(const struct checked_image *im) {
    const struct gomalloc_frame *f = RECORDS(im, FRAME, gomalloc_frame);
    for (size_t i = 0; i < COUNT(im, FRAME); i++) {
        assert_true(f[i].parent <= i);
        assert_int_equal(f[i].depth, f[i].parent != 0 ? f[f[i].parent - 1].depth + 1 : 1);
    }
    const struct gomalloc_site *s = RECORDS(im, SITE, gomalloc_site);
    for (size_t i = 0; i < COUNT(im, SITE); i++) {
        assert_int_equal(s[i].site, i + 1);
        assert_true(s[i].frame <= COUNT(im, FRAME));
    }
}

static void check_arenas(const struct checked_image *im) {
    const struct gomalloc_arena *a = RECORDS(im, ARENA, gomalloc_arena);
    for (size_t i = 0; i < COUNT(im, ARENA); i++) {
        assert_int_equal(a[i].reserved_bytes + a[i].prepared_bytes + a[i].ready_bytes, a[i].size);
        assert_true(a[i].scavenged_pages <= a[i].free_pages);
        assert_true(a[i].zeroed_base <= a[i].size);
    }
}

/* What holds of the structures also while threads run: each is there once, and counts no more than
 * there can be. */
static void check_caches(const struct checked_image *im) {
    const struct gomalloc_mcache *c = RECORDS(im, MCACHE, gomalloc_mcache);
    if (c != NULL)
        assert_int_equal(COUNT(im, MCACHE), COUNT(im, THREAD));
    for (size_t i = 0; i < COUNT(im, MCACHE); i++) {
        assert_int_equal(c[i].mcache, i);
        assert_int_equal(c[i].pcache_npages, __builtin_popcountll(c[i].pcache_free));
        assert_int_equal(c[i].pcache_nscavenged, __builtin_popcountll(c[i].pcache_scavenged));
        assert_int_equal(c[i].pcache_scavenged & ~c[i].pcache_free, 0);
        assert_int_equal(c[i].pcache_base % (64 * PAGE), 0);
        assert_true(c[i].nlarge != 0 || c[i].large_bytes == 0);
    }
    const struct gomalloc_mcache_class *k = RECORDS(im, MCACHE_CLASS, gomalloc_mcache_class);
    uint64_t nspans = 0, nowned = 0;
    for (size_t i = 0; i < COUNT(im, MCACHE_CLASS); i++) {
        assert_true(k[i].mcache < COUNT(im, MCACHE) && k[i].span_class < 136);
        assert_true(k[i].nhints <= k[i].hint_capacity);
        for (size_t j = 0; j < i; j++)
            assert_false(k[j].mcache == k[i].mcache && k[j].span_class == k[i].span_class);
        nspans += (k[i].current != 0) + k[i].nlisted + k[i].nheld;
    }
    const struct gomalloc_span *s = RECORDS(im, SPAN, gomalloc_span);
    for (size_t i = 0; i < COUNT(im, SPAN); i++)
        nowned += s[i].owner < GOMALLOC_OWNER_HEAP;
    if (s != NULL && k != NULL && (im->header->flags & GOMALLOC_IMAGE_LIVE) == 0)
        assert_int_equal(nspans, nowned);
}

/* The states of each purpose are what its transitions left there, whatever threads do: both are
 * counted at one time, but for what happens between two readings. */
static void check_transitions(const struct checked_image *im) {
    const struct gomalloc_transition *t = RECORDS(im, TRANSITION, gomalloc_transition);
    const struct gomalloc_memstat *m = RECORDS(im, MEMSTAT, gomalloc_memstat);
    if (t == NULL || m == NULL || (im->header->flags & GOMALLOC_IMAGE_LIVE) != 0)
        return;
    for (size_t i = 0; i < COUNT(im, MEMSTAT); i++) {
        uint64_t bytes[4] = {0};
        for (size_t k = 0; k < COUNT(im, TRANSITION); k++)
            if (strcmp(t[k].purpose, m[i].name) == 0) {
                bytes[t[k].from] -= t[k].bytes;
                bytes[t[k].to] += t[k].bytes;
            }
        assert_int_equal(bytes[GOMALLOC_MEMORY_RESERVED], m[i].reserved);
        assert_int_equal(bytes[GOMALLOC_MEMORY_PREPARED], m[i].prepared);
        assert_int_equal(bytes[GOMALLOC_MEMORY_READY], m[i].ready);
    }
}

static void check_counters(const struct checked_image *im) {
    const struct gomalloc_counter *c = RECORDS(im, COUNTER, gomalloc_counter);
    for (size_t i = 0; i < COUNT(im, COUNTER); i++) {
        assert_true(c[i].name[0] != '\0' && c[i].name[sizeof c[i].name - 1] == '\0');
        assert_true(c[i].unit[0] != '\0' && c[i].unit[sizeof c[i].unit - 1] == '\0');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(c[k].name, c[i].name);
    }
}

void check_image(int fd, struct checked_image *im) {
    memset(im, 0, sizeof *im);
    read_all(fd, im);
    check_header(im);
    check_directory(im);
    const struct gomalloc_span *s = RECORDS(im, SPAN, gomalloc_span);
    if (im->records[GOMALLOC_SECTION_THREAD] != NULL)
        for (size_t i = 0; i < COUNT(im, SPAN); i++)
            check_span(im, &s[i]);
    for (size_t i = 0; i < COUNT(im, SPAN); i++)
        check_slots(im, &s[i]);
    check_no_overlap(im);
    check_stacks(im);
    check_arenas(im);
    check_counters(im);
    check_caches(im);
    check_transitions(im);
}

void free_image(struct checked_image *im) {
    free(im->bytes);
    im->bytes = NULL;
}

static void sum_span(const struct checked_image *im, const struct gomalloc_span *s,
                     struct image_sums *sums) {
    const uint64_t *words = (const uint64_t *)im->records[GOMALLOC_SECTION_BITMAP];
    const struct gomalloc_slot *slot = RECORDS(im, SLOT, gomalloc_slot);
    sums->objects += s->live;
    sums->bytes += s->live * s->elem_size;
    sums->span_pages += s->npages;
    sums->marked += s->marked;
    if (s->slot_index == GOMALLOC_NO_SLOTS)
        return;
    for (uint32_t i = 0; i < s->nelems; i++)
        if (bit(words + s->bitmap_index, i) && slot[s->slot_index + i].site != 0) {
            sums->recorded++;
            sums->requested += s->elem_size - slot[s->slot_index + i].slack;
        }
}

struct image_sums sum_image(const struct checked_image *im) {
    struct image_sums sums = {0};
    const struct gomalloc_span *s = RECORDS(im, SPAN, gomalloc_span);
    for (size_t i = 0; i < COUNT(im, SPAN); i++)
        sum_span(im, &s[i], &sums);
    const struct gomalloc_chunk *c = RECORDS(im, CHUNK, gomalloc_chunk);
    for (size_t i = 0; i < COUNT(im, CHUNK); i++)
        for (unsigned page = 0; page < CHUNK_WORDS * 64; page++) {
            bool cached = bit(c[i].cached, page);
            assert_true(!cached || bit(c[i].alloc, page));
            if (!bit(c[i].grown, page))
                continue;
            sums.grown_pages++;
            sums.cached_pages += cached;
            sums.free_pages += cached || !bit(c[i].alloc, page);
        }
    return sums;
}

uint64_t live_of_site(const struct checked_image *im, uint32_t site) {
    const uint64_t *words = (const uint64_t *)im->records[GOMALLOC_SECTION_BITMAP];
    const struct gomalloc_slot *slot = RECORDS(im, SLOT, gomalloc_slot);
    const struct gomalloc_span *s = RECORDS(im, SPAN, gomalloc_span);
    uint64_t n = 0;
    for (size_t k = 0; k < COUNT(im, SPAN); k++)
        for (uint32_t i = 0; s[k].slot_index != GOMALLOC_NO_SLOTS && i < s[k].nelems; i++)
            n += bit(words + s[k].bitmap_index, i) && slot[s[k].slot_index + i].site == site;
    return n;
}

const char *image_text(const struct checked_image *im, uint32_t str) {
    const char *text = im->records[GOMALLOC_SECTION_STRING];
    assert_true(str < COUNT(im, STRING));
    assert_int_equal(text[COUNT(im, STRING) - 1], '\0');
    return text + str;
}

uint64_t image_counter(const struct checked_image *im, const char *name) {
    const struct gomalloc_counter *c = RECORDS(im, COUNTER, gomalloc_counter);
    const struct gomalloc_counter *found = NULL;
    for (size_t i = 0; i < COUNT(im, COUNTER); i++)
        if (strcmp(c[i].name, name) == 0)
            found = &c[i];
    assert_non_null(found);
    return found->value;
}
