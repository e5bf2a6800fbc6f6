/* SPDX-License-Identifier: BSD-3-Clause
 *
 * palloc_replay: repeats what Go's page allocator did, and compares the answers.
 *
 *     palloc_replay [--check] FILE
 *
 * FILE is a trace of Go 1.19's own pageAlloc and pageCache under random operations; its lines are
 * described in README.md beside the traces.  Exit 0: same answer on every line.  1: a different
 * one; the line is named, with both answers, and the rest is not looked at.  2: the trace can't be
 * read.  --check recounts the allocator from its bitmaps after every line.
 *
 * The answer of an operation is made as text and compared as text with what stands after "=>".
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/mgcscavenge.h"
#include "heap/mpagealloc.h"
#include "heap/mpagecache.h"
#include "palloc_world.h"

#define MAX_CHUNK  (1u << 24) /* chunk numbers: up to 64 TiB above chunk 0 */
#define MAX_CACHES (1u << 20)

struct replay {
    const char *file;
    unsigned line;
    bool check;
    bool ready; /* the chunks are all there */
    struct palloc_world *w;
    struct page_cache *caches; /* by the trace's number */
    char answer[256];
};

static _Noreturn void bad_trace(const struct replay *r, const char *what) {
    fprintf(stderr, "%s:%u: cannot read the trace: %s\n", r->file, r->line, what);
    exit(2);
}

static void __attribute__((format(printf, 2, 3)))
answer(struct replay *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(r->answer, sizeof(r->answer), format, args);
    va_end(args);
}

/* read_number reads a decimal number up to `end` (a character) and returns what stands behind it.
 * NULL: it is none, or too large. */
static const char *read_number(const char *text, char end, uintptr_t *ret) {
    if (*text < '0' || *text > '9')
        return NULL;
    char *rest;
    errno = 0;
    *ret = strtoul(text, &rest, 10);
    return errno != 0 || *rest != end ? NULL : rest + (end != '\0');
}

/* read_numbers reads an operation's arguments: as many as its usage has words after the first. */
static void read_numbers(const struct replay *r, const char *args, uintptr_t *ret, size_t n,
                         const char *usage) {
    for (size_t i = 0; i < n && args != NULL; i++)
        args = read_number(args, i + 1 < n ? ' ' : '\0', &ret[i]);
    if (args == NULL || (n == 0 && *args != '\0'))
        bad_trace(r, usage);
}

/* Is a chunk grown? */
static bool is_chunk(const struct replay *r, uintptr_t c) {
    return c < MAX_CHUNK &&
           addr_ranges_contains(&r->w->p.in_use, chunk_base(world_chunk((unsigned)c)));
}

/* A chunk of the heap by its number in the trace. */
static struct chunk_idx chunk_number(const struct replay *r, uintptr_t c) {
    if (!is_chunk(r, c))
        bad_trace(r, "no such chunk");
    return world_chunk((unsigned)c);
}

static struct page_cache *cache_at(const struct replay *r, uintptr_t i) {
    if (i >= MAX_CACHES)
        bad_trace(r, "cache number too large");
    return &r->caches[i];
}

/* add_ranges reads "I+N I+N ..." up to another word and returns that word, or NULL. */
static char *add_ranges(const struct replay *r, struct bit_range *ranges, size_t *n, char **save) {
    for (;;) {
        char *word = strtok_r(NULL, " ", save);
        if (word == NULL || strchr(word, '+') == NULL)
            return word;
        uintptr_t i = 0, len = 0;
        const char *rest = read_number(word, '+', &i);
        if (*n == PALLOC_CHUNK_PAGES || rest == NULL || read_number(rest, '\0', &len) == NULL ||
            len > PALLOC_CHUNK_PAGES || i > PALLOC_CHUNK_PAGES - len)
            bad_trace(r, "bad range of pages");
        ranges[*n] = (struct bit_range){(unsigned)i, (unsigned)len};
        *n += len != 0; /* Go's test world allows for empty ranges, too */
    }
}

/* chunk C alloc A+N ... scav A+N ... */
static void op_chunk(struct replay *r, char *args) {
    static struct bit_range alloc[PALLOC_CHUNK_PAGES], scav[PALLOC_CHUNK_PAGES];
    size_t nalloc = 0, nscav = 0;
    char *save;
    char *number = strtok_r(args, " ", &save);
    uintptr_t c;
    if (number == NULL || read_number(number, '\0', &c) == NULL || c >= MAX_CHUNK || is_chunk(r, c))
        bad_trace(r, "bad chunk");
    char *word = strtok_r(NULL, " ", &save);
    if (word != NULL && strcmp(word, "alloc") == 0)
        word = add_ranges(r, alloc, &nalloc, &save);
    if (word != NULL && strcmp(word, "scav") == 0)
        word = add_ranges(r, scav, &nscav, &save);
    if (word != NULL)
        bad_trace(r, "unknown word after the chunk's pages");
    world_add_chunk(r->w, (unsigned)c, alloc, nalloc, scav, nscav);
}

static void op_ready(struct replay *r, char *args) {
    read_numbers(r, args, NULL, 0, "ready");
    r->ready = true;
}

/* alloc N => P scav B | fail */
static void op_alloc(struct replay *r, char *args) {
    uintptr_t npages, scav = 0;
    read_numbers(r, args, &npages, 1, "alloc N");
    if (npages == 0)
        bad_trace(r, "alloc of no page");
    uintptr_t page = world_alloc(r->w, npages, &scav);
    if (page == UINTPTR_MAX)
        answer(r, "fail");
    else
        answer(r, "%" PRIuPTR " scav %" PRIuPTR, page, scav);
}

/* free P N: all of it must be in use, or the trace isn't Go's. */
static void op_free(struct replay *r, char *args) {
    uintptr_t n[2];
    read_numbers(r, args, n, 2, "free P N");
    const uintptr_t page = n[0], npages = n[1];
    if (npages == 0)
        bad_trace(r, "free of no page");
    for (uintptr_t i = page; i - page < npages; i++) {
        if (!is_chunk(r, i / PALLOC_CHUNK_PAGES))
            bad_trace(r, "free of pages that are not the heap's");
        struct chunk_idx c = world_chunk((unsigned)(i / PALLOC_CHUNK_PAGES));
        if (!palloc_bits_get(&page_alloc_chunk(&r->w->p, c)->alloc, i % PALLOC_CHUNK_PAGES)) {
            answer(r, "(page %" PRIuPTR " is not in use)", i);
            return;
        }
    }
    world_release(r->w, page, npages);
}

/* cache I => P free X scav Y | empty */
static void op_cache(struct replay *r, char *args) {
    uintptr_t i;
    read_numbers(r, args, &i, 1, "cache I");
    struct page_cache *c = cache_at(r, i);
    if (!page_cache_empty(c))
        bad_trace(r, "cache that still has pages");
    mutex_lock(&r->w->lock);
    *c = page_alloc_alloc_to_cache(&r->w->p);
    mutex_unlock(&r->w->lock);
    if (page_cache_empty(c))
        answer(r, "empty");
    else
        answer(r, "%" PRIuPTR " free %016" PRIx64 " scav %016" PRIx64, world_page(c->base),
               c->cache, c->scav);
}

/* cachealloc I N => P scav B | fail */
static void op_cachealloc(struct replay *r, char *args) {
    uintptr_t n[2], scav = 0;
    read_numbers(r, args, n, 2, "cachealloc I N");
    if (n[1] == 0)
        bad_trace(r, "cachealloc of no page");
    uintptr_t addr = page_cache_alloc(cache_at(r, n[0]), n[1], &scav);
    if (addr == 0)
        answer(r, "fail");
    else
        answer(r, "%" PRIuPTR " scav %" PRIuPTR, world_page(addr), scav);
}

/* cacheflush I */
static void op_cacheflush(struct replay *r, char *args) {
    uintptr_t i;
    read_numbers(r, args, &i, 1, "cacheflush I");
    mutex_lock(&r->w->lock);
    page_cache_flush(cache_at(r, i), &r->w->p);
    mutex_unlock(&r->w->lock);
}

/* sum L C => S M E */
static void op_sum(struct replay *r, char *args) {
    uintptr_t n[2];
    read_numbers(r, args, n, 2, "sum L C");
    const unsigned level = n[0] < SUMMARY_LEVELS ? (unsigned)n[0] : SUMMARY_LEVELS;
    if (level == SUMMARY_LEVELS)
        bad_trace(r, "no such level");
    struct off_addr addr = {chunk_base(chunk_number(r, n[1]))};
    struct palloc_sum s = page_alloc_summary(&r->w->p, level, off_addr_to_level_index(level, addr));
    answer(r, "%" PRIu64 " %" PRIu64 " %" PRIu64, palloc_sum_start(s), palloc_sum_max(s),
           palloc_sum_end(s));
}

/* grow C N: N chunks from C on become free pages, all scavenged. */
static void op_grow(struct replay *r, char *args) {
    uintptr_t n[2];
    read_numbers(r, args, n, 2, "grow C N");
    if (n[1] == 0 || n[0] >= MAX_CHUNK || n[1] > MAX_CHUNK - n[0])
        bad_trace(r, "grow beyond all chunks");
    for (uintptr_t i = 0; i < n[1]; i++)
        if (is_chunk(r, n[0] + i))
            bad_trace(r, "grow of a chunk that is there");
    uintptr_t base = chunk_base(world_chunk((unsigned)n[0]));
    mutex_lock(&r->w->lock);
    bool ok = page_alloc_grow(&r->w->p, base, n[1] * PALLOC_CHUNK_BYTES);
    mutex_unlock(&r->w->lock);
    if (!ok)
        answer(r, "(no memory)");
}

/* search => P | none: where the next search begins. */
static void op_search(struct replay *r, char *args) {
    read_numbers(r, args, NULL, 0, "search");
    struct off_addr a = r->w->p.search_addr;
    if (a.a == MAX_OFF_ADDR.a)
        answer(r, "none");
    else
        answer(r, "%" PRIuPTR, world_page(a.a));
}

/* scavenge => B: all that is free goes back to the kernel, B bytes of it now. */
static void op_scavenge(struct replay *r, char *args) {
    read_numbers(r, args, NULL, 0, "scavenge");
    answer(r, "%zu", page_alloc_scavenge(&r->w->p, SCAVENGE_ALL));
}

static void answer_bits(struct replay *r, const struct palloc_bits *b) {
    const uint64_t *w = b->w;
    answer(r,
           "%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64
           " %016" PRIx64 " %016" PRIx64,
           w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
}

/* bits C => eight hex words: the pages in use; scavbits C: the scavenged ones. */
static void op_bits(struct replay *r, char *args) {
    uintptr_t c;
    read_numbers(r, args, &c, 1, "bits C");
    answer_bits(r, &page_alloc_chunk(&r->w->p, chunk_number(r, c))->alloc);
}

static void op_scavbits(struct replay *r, char *args) {
    uintptr_t c;
    read_numbers(r, args, &c, 1, "scavbits C");
    answer_bits(r, &page_alloc_chunk(&r->w->p, chunk_number(r, c))->scavenged);
}

static const struct op {
    const char *name;
    void (*run)(struct replay *r, char *args);
    bool before_ready;
} ops[] = {
    {"chunk", op_chunk, true},
    {"ready", op_ready, true},
    {"alloc", op_alloc, false},
    {"free", op_free, false},
    {"cache", op_cache, false},
    {"cachealloc", op_cachealloc, false},
    {"cacheflush", op_cacheflush, false},
    {"sum", op_sum, false},
    {"bits", op_bits, false},
    {"grow", op_grow, false},
    {"search", op_search, false},
    {"scavenge", op_scavenge, false},
    {"scavbits", op_scavbits, false},
};

static const struct op *find_op(const struct replay *r, const char *name) {
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(ops[i].name, name) == 0 && ops[i].before_ready != r->ready)
            return &ops[i];
    }
    bad_trace(r, "unknown operation, or not in its place");
}

/* replay_line runs one line.  False: another answer than Go's. */
static bool replay_line(struct replay *r, char *text) {
    char *want = strstr(text, " => ");
    if (want != NULL) {
        *want = '\0';
        want += 4;
    }
    char *args = text + strcspn(text, " ");
    if (*args != '\0')
        *args++ = '\0';
    r->answer[0] = '\0';
    find_op(r, text)->run(r, args);
    if (r->check)
        world_check(r->w, text);
    if (strcmp(r->answer, want != NULL ? want : "") == 0)
        return true;
    fprintf(stderr, "%s:%u: %s: Go answered \"%s\", we \"%s\"\n", r->file, r->line, text,
            want != NULL ? want : "", r->answer);
    return false;
}

static int replay_file(struct replay *r, FILE *in) {
    char *text = NULL;
    size_t cap = 0;
    ssize_t len;
    int status = 0;
    while (status == 0 && (len = getline(&text, &cap, in)) != -1) {
        r->line++;
        if (len > 0 && text[len - 1] == '\n')
            text[len - 1] = '\0';
        if (text[0] != '\0' && text[0] != '#' && !replay_line(r, text))
            status = 1;
    }
    if (status == 0 && !r->ready)
        bad_trace(r, "it has no \"ready\"");
    free(text);
    return status;
}

int main(int argc, char **argv) {
    struct replay r = {.check = argc > 1 && strcmp(argv[1], "--check") == 0};
    if (argc != 2 + r.check) {
        fprintf(stderr, "usage: palloc_replay [--check] FILE\n");
        return 64;
    }
    r.file = argv[1 + r.check];
    FILE *in = fopen(r.file, "r");
    r.caches = calloc(MAX_CACHES, sizeof(struct page_cache));
    if (in == NULL || r.caches == NULL) {
        perror(r.file);
        return 2;
    }
    r.w = world_new();
    int status = replay_file(&r, in);
    if (status == 0)
        printf("%s: %u lines, all as in Go\n", r.file, r.line);
    world_free(r.w);
    free(r.caches);
    fclose(in);
    return status;
}
