/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The index of return addresses: see code.h.
 */
#include "db/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "names/wrapper.h"

#define MEMOS 4096 /* a power of two */

/* Whether a function of a module is a wrapper.  The symbolizer has one copy of each name, so that
 * names are the same if their addresses are. */
struct memo {
    const char *function; /* NULL: empty */
    const char *file;
    const char *module;
    bool wrapper;
};

struct code {
    const struct image *im;
    struct symbolizer *symbolizer; /* NULL until the first name is asked for */
    uint64_t *pcs;                 /* distinct, ascending; id 1 is pcs[0] */
    size_t npcs;
    struct memo *memos;         /* of functions, by their names' addresses */
    unsigned char *passed_over; /* of code id at id - 1: enum answer, whether sites do so */
};

enum answer { UNKNOWN, YES, NO };

static int compare_pcs(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct code *code_new(const struct image *im) {
    size_t n;
    const struct gomalloc_frame *frames = image_section(im, GOMALLOC_SECTION_FRAME, &n);
    struct code *code = calloc(1, sizeof *code);
    if (!code || !(code->pcs = calloc(n + 1, sizeof *code->pcs)) ||
        !(code->passed_over = calloc(n + 1, 1)) ||
        !(code->memos = calloc(MEMOS, sizeof *code->memos))) {
        code_free(code);
        return NULL;
    }
    code->im = im;
    for (size_t i = 0; i < n; i++)
        code->pcs[i] = frames[i].pc;
    qsort(code->pcs, n, sizeof *code->pcs, compare_pcs);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || code->pcs[i] != code->pcs[code->npcs - 1])
            code->pcs[code->npcs++] = code->pcs[i];
    return code;
}

void code_free(struct code *code) {
    if (!code)
        return;
    symbolizer_free(code->symbolizer);
    free(code->pcs);
    free(code->memos);
    free(code->passed_over);
    free(code);
}

const struct image *code_image(const struct code *code) {
    return code->im;
}

size_t code_count(const struct code *code) {
    return code->npcs;
}

uint32_t code_of_node(const struct code *code, uint32_t node) {
    size_t n;
    const struct gomalloc_frame *frames = image_section(code->im, GOMALLOC_SECTION_FRAME, &n);
    const uint64_t *found =
        bsearch(&frames[node - 1].pc, code->pcs, code->npcs, sizeof *code->pcs, compare_pcs);
    return (uint32_t)(found - code->pcs) + 1;
}

/* A frame's pc is a return address: the call lies just before it, and that may be the last
 * instruction of its function, or even of its mapping. */
static uint64_t call_address(const struct code *code, uint32_t id) {
    return code->pcs[id - 1] - 1;
}

const struct gomalloc_mapping *code_mapping(const struct code *code, uint32_t id) {
    return image_mapping_at(code->im, call_address(code, id));
}

uint64_t code_offset(const struct code *code, uint32_t id) {
    const struct gomalloc_mapping *m = code_mapping(code, id);
    uint64_t pc = code->pcs[id - 1];
    return m ? pc - m->start + m->file_offset : pc;
}

/* open_symbolizer makes it, and tells it of all codes. */
static bool open_symbolizer(struct code *code) {
    uint64_t *calls = calloc(code->npcs + 1, sizeof *calls);
    code->symbolizer = calls ? symbolizer_new(code->im) : NULL;
    if (code->symbolizer) {
        for (uint32_t id = 1; id <= code->npcs; id++)
            calls[id - 1] = call_address(code, id);
        symbolizer_expect(code->symbolizer, calls, code->npcs);
    }
    free(calls);
    return code->symbolizer != NULL;
}

int code_symbols(struct code *code, uint32_t id, const struct symbol_frame **ret_frames,
                 size_t *ret_n) {
    if (!code->symbolizer && !open_symbolizer(code))
        return -ENOMEM;
    return symbolizer_lookup(code->symbolizer, call_address(code, id), ret_frames, ret_n);
}

bool code_in_allocator(const struct code *code, uint32_t id, const struct symbol_frame *frame) {
    const struct gomalloc_mapping *m = code_mapping(code, id);
    const char *module = m ? image_string(code->im, m->path_str) : NULL;
    if (!frame->function || !code->symbolizer)
        return wrapper_matches(frame->function, frame->file, module);
    uintptr_t key = (uintptr_t)frame->function;
    struct memo *memo = &code->memos[(key >> 3 ^ key >> 15) % MEMOS];
    if (memo->function != frame->function || memo->file != frame->file || memo->module != module)
        *memo = (struct memo){frame->function, frame->file, module,
                              wrapper_matches(frame->function, frame->file, module)};
    return memo->wrapper;
}

static bool no_other_function(struct code *code, uint32_t id) {
    const struct symbol_frame *frames;
    size_t n;
    if (code_symbols(code, id, &frames, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!code_in_allocator(code, id, &frames[i]))
            return false;
    return n > 0;
}

/* all_in_allocator asks for a code once: sites share most of their innermost frames. */
static bool all_in_allocator(struct code *code, uint32_t id) {
    unsigned char *known = &code->passed_over[id - 1];
    if (*known == UNKNOWN)
        *known = no_other_function(code, id) ? YES : NO;
    return *known == YES;
}

uint32_t code_caller(struct code *code, uint32_t node) {
    size_t n;
    const struct gomalloc_frame *frames = image_section(code->im, GOMALLOC_SECTION_FRAME, &n);
    while (node && all_in_allocator(code, code_of_node(code, node)))
        node = frames[node - 1].parent;
    return node;
}
