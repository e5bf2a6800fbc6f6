/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The SQL function callers(stack_id).  It could be an expression, and was one: a recursive query
 * for each row, 60 us over an image, while naming its code takes 1 us a row.  Over an image the
 * trie is walked here; in a snapshot file that query is prepared once.
 */
#include <stdio.h>
#include <string.h>

#include "db/callers.h"
#include "db/vtab.h"

#define MOST_UP   15 /* frames outwards that are looked at */
#define MOST_SHOW 3

/* What the function belongs to. */
struct callers {
    struct code *code;   /* NULL: a file */
    sqlite3_stmt *query; /* of a file, NULL until it is needed; db_close finalizes it */
};

static const char query_sql[] =
    "WITH RECURSIVE up(id, n) AS (SELECT ?1, 0 UNION ALL"
    " SELECT k.parent_id, n + 1 FROM up JOIN stack k ON k.stack_id = up.id"
    " WHERE k.parent_id <> 0 AND n < 15)"
    " SELECT group_concat(f, ' < ') FROM (SELECT coalesce(y.function,"
    " replace(f.module, rtrim(f.module, replace(f.module, '/', '')), '')"
    " || printf('+0x%x', f.module_offset)) AS f"
    " FROM up CROSS JOIN stack k ON k.stack_id = up.id"
    " CROSS JOIN frame f ON f.frame_id = k.frame_id"
    " CROSS JOIN symbol y ON y.frame_id = k.frame_id"
    " WHERE NOT y.allocator ORDER BY up.n, y.inline_depth LIMIT 3 OFFSET 1)";

static void append(sqlite3_str *s, const struct code *code, uint32_t id,
                   const struct symbol_frame *frame) {
    if (sqlite3_str_length(s))
        sqlite3_str_appendall(s, " < ");
    if (frame->function) {
        sqlite3_str_appendall(s, frame->function);
        return;
    }
    const struct gomalloc_mapping *m = code_mapping(code, id);
    const char *module = m ? image_string(code_image(code), m->path_str) : "";
    const char *slash = strrchr(module, '/');
    sqlite3_str_appendf(s, "%s+0x%llx", slash ? slash + 1 : module,
                        (unsigned long long)code_offset(code, id));
}

/* from_image walks outwards from a node. */
static void from_image(sqlite3_context *ctx, struct code *code, uint32_t node) {
    size_t nnodes, nframes, seen = 0;
    const struct gomalloc_frame *nodes =
        image_section(code_image(code), GOMALLOC_SECTION_FRAME, &nnodes);
    const struct symbol_frame *frames;
    sqlite3_str *s = sqlite3_str_new(NULL);
    for (int up = 0; node && node <= nnodes && up <= MOST_UP && seen <= MOST_SHOW; up++) {
        uint32_t id = code_of_node(code, node);
        if (code_symbols(code, id, &frames, &nframes))
            break;
        for (size_t i = 0; i < nframes && seen <= MOST_SHOW; i++)
            if (!code_in_allocator(code, id, &frames[i]) && seen++ > 0)
                append(s, code, id, &frames[i]);
        node = nodes[node - 1].parent;
    }
    size_t length = (size_t)sqlite3_str_length(s);
    char *text = sqlite3_str_finish(s);
    if (text)
        vtab_result_text(ctx, text, length);
    sqlite3_free(text);
}

static void from_tables(sqlite3_context *ctx, struct callers *c, sqlite3_value *stack) {
    if (!c->query && sqlite3_prepare_v3(sqlite3_context_db_handle(ctx), query_sql, -1,
                                        SQLITE_PREPARE_PERSISTENT, &c->query, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_value(c->query, 1, stack);
    if (sqlite3_step(c->query) == SQLITE_ROW)
        sqlite3_result_value(ctx, sqlite3_column_value(c->query, 0));
    sqlite3_reset(c->query);
}

static void callers(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    struct callers *c = sqlite3_user_data(ctx);
    (void)argc;
    if (sqlite3_value_type(argv[0]) != SQLITE_INTEGER)
        return;
    if (c->code)
        from_image(ctx, c->code, (uint32_t)sqlite3_value_int64(argv[0]));
    else
        from_tables(ctx, c, argv[0]);
}

int callers_create(sqlite3 *db, struct code *code) {
    struct callers *c = sqlite3_malloc64(sizeof *c);
    if (!c)
        return SQLITE_NOMEM;
    *c = (struct callers){.code = code};
    return sqlite3_create_function_v2(db, "callers", 1, SQLITE_UTF8, c, callers, NULL, NULL,
                                      sqlite3_free);
}
