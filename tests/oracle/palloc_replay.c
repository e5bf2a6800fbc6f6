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
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Is a chunk grown? */
static bool is_chunk(const struct replay *r, uintptr_t c) {
    return c < MAX_CHUNK &&
           addr_ranges_contains(&r->w->p.in_use, chunk_base(world_chunk((unsigned)c)));
}

static struct page_cache *cache_at(const struct replay *r, unsigned i) {
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
        struct bit_range *b = &ranges[*n];
        if (*n == PALLOC_CHUNK_PAGES || sscanf(word, "%u+%u", &b->i, &b->n) != 2 ||
            b->n > PALLOC_CHUNK_PAGES || b->i > PALLOC_CHUNK_PAGES - b->n)
            bad_trace(r, "bad range of pages");
        *n += b->n != 0; /* Go's test world allows for empty ranges, too */
    }
}

/* chunk C alloc A+N ... scav A+N ... */
static void op_chunk(struct replay *r, char *args) {
    static struct bit_range alloc[PALLOC_CHUNK_PAGES], scav[PALLOC_CHUNK_PAGES];
    size_t nalloc = 0, nscav = 0;
    char *save;
    char *number = strtok_r(args, " ", &save);
    unsigned c;
    if (r->ready || number == NULL || sscanf(number, "%u", &c) != 1 || c >= MAX_CHUNK ||
        is_chunk(r, c))
        bad_trace(r, "bad chunk");
    char *word = strtok_r(NULL, " ", &save);
    if (word != NULL && strcmp(word, "alloc") == 0)
        word = add_ranges(r, alloc, &nalloc, &save);
    if (word != NULL && strcmp(word, "scav") == 0)
        word = add_ranges(r, scav, &nscav, &save);
    if (word != NULL)
        bad_trace(r, "unknown word after the chunk's pages");
    world_add_chunk(r->w, c, alloc, nalloc, scav, nscav);
}

static void op_ready(struct replay *r, char *args) {
    (void)args;
    r->ready = true;
}

/* alloc N => P scav B | fail */
static void op_alloc(struct replay *r, char *args) {
    uintptr_t npages, scav = 0;
    if (sscanf(args, "%" SCNuPTR, &npages) != 1 || npages == 0)
        bad_trace(r, "alloc N");
    uintptr_t page = world_alloc(r->w, npages, &scav);
    if (page == UINTPTR_MAX)
        answer(r, "fail");
    else
        answer(r, "%" PRIuPTR " scav %" PRIuPTR, page, scav);
}

/* free P N: all of it must be in use, or the trace isn't Go's. */
static void op_free(struct replay *r, char *args) {
    uintptr_t page, npages;
    if (sscanf(args, "%" SCNuPTR " %" SCNuPTR, &page, &npages) != 2 || npages == 0)
        bad_trace(r, "free P N");
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
    unsigned i;
    if (sscanf(args, "%u", &i) != 1)
        bad_trace(r, "cache I");
    struct page_cache *c = cache_at(r, i);
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
    unsigned i;
    uintptr_t npages, scav = 0;
    if (sscanf(args, "%u %" SCNuPTR, &i, &npages) != 2 || npages == 0)
        bad_trace(r, "cachealloc I N");
    uintptr_t addr = page_cache_alloc(cache_at(r, i), npages, &scav);
    if (addr == 0)
        answer(r, "fail");
    else
        answer(r, "%" PRIuPTR " scav %" PRIuPTR, world_page(addr), scav);
}

/* cacheflush I */
static void op_cacheflush(struct replay *r, char *args) {
    unsigned i;
    if (sscanf(args, "%u", &i) != 1)
        bad_trace(r, "cacheflush I");
    mutex_lock(&r->w->lock);
    page_cache_flush(cache_at(r, i), &r->w->p);
    mutex_unlock(&r->w->lock);
}

/* sum L C => S M E */
static void op_sum(struct replay *r, char *args) {
    unsigned level, c;
    if (sscanf(args, "%u %u", &level, &c) != 2 || level >= SUMMARY_LEVELS || !is_chunk(r, c))
        bad_trace(r, "sum L C");
    struct off_addr addr = {chunk_base(world_chunk(c))};
    struct palloc_sum s = page_alloc_summary(&r->w->p, level, off_addr_to_level_index(level, addr));
    answer(r, "%" PRIu64 " %" PRIu64 " %" PRIu64, palloc_sum_start(s), palloc_sum_max(s),
           palloc_sum_end(s));
}

/* bits C => eight hex words */
static void op_bits(struct replay *r, char *args) {
    unsigned c;
    if (sscanf(args, "%u", &c) != 1 || !is_chunk(r, c))
        bad_trace(r, "bits C");
    const uint64_t *w = page_alloc_chunk(&r->w->p, world_chunk(c))->alloc.w;
    answer(r,
           "%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64
           " %016" PRIx64 " %016" PRIx64,
           w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
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
