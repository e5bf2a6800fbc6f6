/* SPDX-License-Identifier: BSD-3-Clause
 *
 * image_code, image_symbol and image_stack: the stacks of an image in the shape that the database
 * keeps them in.  A code is a distinct return address, a symbol a function there (several where
 * functions were inlined), a stack a node of the trie, 0 being the empty one.
 */
#include <errno.h>
#include <string.h>

#include "db/vtab.h"

/* A walk over numbers at ... end - 1: ids of codes, or nodes. */
struct number_cursor {
    struct vtab_cursor base;
    uint32_t at;
    uint32_t end;
    uint32_t nth; /* image_symbol: of the functions of code `at` */
    const struct symbol_frame *frames;
    size_t nframes;
};

static void begin(struct number_cursor *c, uint32_t first, uint32_t end, int key, int64_t value) {
    c->at = first;
    c->end = end;
    if (key == VTAB_ALL)
        return;
    if (value < first || value >= end) {
        c->at = end;
        return;
    }
    c->at = (uint32_t)value;
    c->end = c->at + 1;
}

static bool number_eof(struct vtab_cursor *base) {
    const struct number_cursor *c = (const struct number_cursor *)base;
    return c->at >= c->end;
}

static int number_next(struct vtab_cursor *base) {
    ((struct number_cursor *)base)->at++;
    return SQLITE_OK;
}

static int64_t number_rowid(struct vtab_cursor *base) {
    return ((struct number_cursor *)base)->at;
}

static void result_text(sqlite3_context *ctx, const char *text) {
    if (text)
        vtab_result_text(ctx, text, strlen(text));
}

/* image_code. */

enum { CODE_CODE, CODE_MODULE, CODE_BUILD_ID, CODE_OFFSET };

static const struct image_column code_columns[] = {
    [CODE_CODE] = {"code", COLUMN_DERIVED_INTEGER, 0, 0, "number; 0 = none"},
    [CODE_MODULE] = {"module", COLUMN_DERIVED_TEXT, 0, 0, "path of the mapped file, '' = none"},
    [CODE_BUILD_ID] = {"build_id", COLUMN_DERIVED_TEXT, 0, 0, "of the module, hex, '' = not known"},
    [CODE_OFFSET] = {"module_offset", COLUMN_DERIVED_INTEGER, 0, 0,
                     "of the return address in the file; without a module the address"},
};

static double code_rows(const struct vtab_world *world, const struct vtab_class *class) {
    (void)class;
    return (double)code_count(world->code) + 1;
}

static int code_filter(struct vtab_cursor *base, int key, int64_t value) {
    begin((struct number_cursor *)base, 0, (uint32_t)code_count(base->world->code) + 1, key, value);
    return SQLITE_OK;
}

static int code_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    uint32_t id = ((struct number_cursor *)base)->at;
    const struct code *code = base->world->code;
    const struct gomalloc_mapping *m = id ? code_mapping(code, id) : NULL;
    switch (column) {
    case CODE_CODE:
        sqlite3_result_int64(ctx, id);
        break;
    case CODE_MODULE:
        result_text(ctx, m ? image_string(base->world->im, m->path_str) : "");
        break;
    case CODE_BUILD_ID:
        vtab_result_hex(ctx, m ? (const void *)m->build_id : "", m ? m->build_id_len : 0);
        break;
    case CODE_OFFSET:
        sqlite3_result_int64(ctx, id ? (int64_t)code_offset(code, id) : 0);
        break;
    }
    return SQLITE_OK;
}

const struct vtab_class vtab_code_class = {
    .name = "image_code",
    .comment = "a distinct return address",
    .columns = code_columns,
    .ncolumns = sizeof code_columns / sizeof code_columns[0],
    .keys = VTAB_KEY(CODE_CODE) | VTAB_KEY(VTAB_ROWID),
    .unique = VTAB_KEY(CODE_CODE) | VTAB_KEY(VTAB_ROWID),
    .cursor_size = sizeof(struct number_cursor),
    .rows = code_rows,
    .filter = code_filter,
    .eof = number_eof,
    .next = number_next,
    .column = code_column,
    .rowid = number_rowid,
};

/* image_symbol. */

enum {
    SYMBOL_CODE,
    SYMBOL_DEPTH,
    SYMBOL_FUNCTION,
    SYMBOL_FILE,
    SYMBOL_LINE,
    SYMBOL_COL,
    SYMBOL_INLINED,
    SYMBOL_ALLOCATOR
};

static const struct image_column symbol_columns[] = {
    [SYMBOL_CODE] = {"code", COLUMN_DERIVED_INTEGER, 0, 0, "image_code.code"},
    [SYMBOL_DEPTH] = {"inline_depth", COLUMN_DERIVED_INTEGER, 0, 0, "0 = innermost"},
    [SYMBOL_FUNCTION] = {"function", COLUMN_DERIVED_TEXT, 0, 0, "demangled, NULL = not known"},
    [SYMBOL_FILE] = {"file", COLUMN_DERIVED_TEXT, 0, 0, "source file, NULL = not known"},
    [SYMBOL_LINE] = {"line", COLUMN_DERIVED_INTEGER, 0, 0, "0 = not known"},
    [SYMBOL_COL] = {"col", COLUMN_DERIVED_INTEGER, 0, 0, "in the line, from 1; NULL = not known"},
    [SYMBOL_INLINED] = {"inlined", COLUMN_DERIVED_INTEGER, 0, 0, "1: into the next row"},
    [SYMBOL_ALLOCATOR] = {"allocator", COLUMN_DERIVED_INTEGER, 0, 0,
                          "1: part of malloc, of operator new, or of a wrapper"},
};

/* load finds the functions of code `at`; there is always one row, if need be without a name. */
static int load(struct number_cursor *c) {
    static const struct symbol_frame nothing;
    c->nth = 0;
    c->frames = &nothing;
    c->nframes = 1;
    if (c->at == 0 || c->at >= c->end)
        return SQLITE_OK;
    const struct symbol_frame *frames;
    size_t n;
    int rc = code_symbols(c->base.world->code, c->at, &frames, &n);
    if (rc)
        return rc == -ENOMEM ? SQLITE_NOMEM : SQLITE_ERROR;
    if (n) {
        c->frames = frames;
        c->nframes = n;
    }
    return SQLITE_OK;
}

static int symbol_filter(struct vtab_cursor *base, int key, int64_t value) {
    code_filter(base, key, value);
    return load((struct number_cursor *)base);
}

static int symbol_next(struct vtab_cursor *base) {
    struct number_cursor *c = (struct number_cursor *)base;
    if (++c->nth < c->nframes)
        return SQLITE_OK;
    c->at++;
    return load(c);
}

static int symbol_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    const struct number_cursor *c = (const struct number_cursor *)base;
    const struct symbol_frame *f = &c->frames[c->nth];
    switch (column) {
    case SYMBOL_CODE:
        sqlite3_result_int64(ctx, c->at);
        break;
    case SYMBOL_DEPTH:
        sqlite3_result_int64(ctx, c->nth);
        break;
    case SYMBOL_FUNCTION:
        result_text(ctx, f->function);
        break;
    case SYMBOL_FILE:
        result_text(ctx, f->file);
        break;
    case SYMBOL_LINE:
        sqlite3_result_int64(ctx, f->line);
        break;
    case SYMBOL_COL:
        if (f->column)
            sqlite3_result_int64(ctx, f->column);
        break;
    case SYMBOL_INLINED:
        sqlite3_result_int64(ctx, f->inlined);
        break;
    case SYMBOL_ALLOCATOR:
        sqlite3_result_int64(ctx, c->at && code_in_allocator(base->world->code, c->at, f));
        break;
    }
    return SQLITE_OK;
}

static int64_t symbol_rowid(struct vtab_cursor *base) {
    const struct number_cursor *c = (const struct number_cursor *)base;
    return (int64_t)((uint64_t)c->at << 16 | (c->nth & 0xffff));
}

const struct vtab_class vtab_symbol_class = {
    .name = "image_symbol",
    .comment = "a function at a return address",
    .columns = symbol_columns,
    .ncolumns = sizeof symbol_columns / sizeof symbol_columns[0],
    .keys = VTAB_KEY(SYMBOL_CODE),
    .unique = 0,
    .cursor_size = sizeof(struct number_cursor),
    .rows = code_rows,
    .filter = symbol_filter,
    .eof = number_eof,
    .next = symbol_next,
    .column = symbol_column,
    .rowid = symbol_rowid,
};

/* image_stack. */

enum { STACK_STACK, STACK_PARENT, STACK_CODE, STACK_DEPTH, STACK_CALLER };

static const struct image_column stack_columns[] = {
    [STACK_STACK] = {"stack", COLUMN_DERIVED_INTEGER, 0, 0,
                     "rowid of its innermost frame in image_frame, 0 = the empty stack"},
    [STACK_PARENT] = {"parent", COLUMN_DERIVED_INTEGER, 0, 0,
                      "the caller's stack, NULL for the empty one"},
    [STACK_CODE] = {"code", COLUMN_DERIVED_INTEGER, 0, 0,
                    "image_code.code of the innermost frame, 0 for the empty stack"},
    [STACK_DEPTH] = {"depth", COLUMN_DERIVED_INTEGER, 0, 0, "frames"},
    [STACK_CALLER] = {"caller", COLUMN_DERIVED_INTEGER, 0, 0,
                      "itself without innermost frames of the allocator"},
};

static double stack_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t n;
    (void)class;
    image_section(world->im, GOMALLOC_SECTION_FRAME, &n);
    return (double)n + 1;
}

static int stack_filter(struct vtab_cursor *base, int key, int64_t value) {
    begin((struct number_cursor *)base, 0, (uint32_t)stack_rows(base->world, base->class), key,
          value);
    return SQLITE_OK;
}

static int stack_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    uint32_t node = ((struct number_cursor *)base)->at;
    size_t n;
    const struct gomalloc_frame *frames =
        image_section(base->world->im, GOMALLOC_SECTION_FRAME, &n);
    if (node == 0) {
        if (column != STACK_PARENT)
            sqlite3_result_int64(ctx, 0);
        return SQLITE_OK;
    }
    switch (column) {
    case STACK_STACK:
        sqlite3_result_int64(ctx, node);
        break;
    case STACK_PARENT:
        sqlite3_result_int64(ctx, frames[node - 1].parent);
        break;
    case STACK_CODE:
        sqlite3_result_int64(ctx, code_of_node(base->world->code, node));
        break;
    case STACK_DEPTH:
        sqlite3_result_int64(ctx, frames[node - 1].depth);
        break;
    case STACK_CALLER:
        sqlite3_result_int64(ctx, code_caller(base->world->code, node));
        break;
    }
    return SQLITE_OK;
}

const struct vtab_class vtab_stack_class = {
    .name = "image_stack",
    .comment = "a call stack",
    .columns = stack_columns,
    .ncolumns = sizeof stack_columns / sizeof stack_columns[0],
    .keys = VTAB_KEY(STACK_STACK) | VTAB_KEY(VTAB_ROWID),
    .unique = VTAB_KEY(STACK_STACK) | VTAB_KEY(VTAB_ROWID),
    .cursor_size = sizeof(struct number_cursor),
    .rows = stack_rows,
    .filter = stack_filter,
    .eof = number_eof,
    .next = number_next,
    .column = stack_column,
    .rowid = number_rowid,
};
