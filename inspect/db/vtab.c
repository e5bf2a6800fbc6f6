/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sqlite3_module behind every virtual table over an image: see vtab.h.
 */
#include "db/vtab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vtab {
    sqlite3_vtab base;
    const struct vtab_class *class;
    const struct vtab_world *world;
};

/* What sqlite3_create_module_v2 is given; freed with the database. */
struct registration {
    const struct vtab_class *class;
    const struct vtab_world *world;
};

static char *declaration(const struct vtab_class *class) {
    sqlite3_str *s = sqlite3_str_new(NULL);
    sqlite3_str_appendf(s, "CREATE TABLE \"%w\"(", class->name);
    for (size_t i = 0; i < class->ncolumns; i++)
        sqlite3_str_appendf(s, "%s\"%w\" %s", i ? ", " : "", class->columns[i].name,
                            column_sql_type(&class->columns[i]));
    sqlite3_str_appendall(s, ")");
    return sqlite3_str_finish(s);
}

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **ret,
                   char **err) {
    const struct registration *r = aux;
    struct vtab *t = sqlite3_malloc64(sizeof *t);
    char *sql = declaration(r->class);
    (void)argc, (void)argv, (void)err;
    int rc = t && sql ? sqlite3_declare_vtab(db, sql) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (rc != SQLITE_OK) {
        sqlite3_free(t);
        return rc;
    }
    *t = (struct vtab){.class = r->class, .world = r->world};
    *ret = &t->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *base) {
    sqlite3_free(base);
    return SQLITE_OK;
}

static bool is_key(const struct vtab_class *class, int column) {
    return class->keys & VTAB_KEY(column < 0 ? VTAB_ROWID : column);
}

/* best_index: idxNum is 0 for the walk over all rows, else the key column + 1. */
static int best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    const struct vtab *t = (const struct vtab *)base;
    double rows = t->class->rows(t->world, t->class) + 1;
    info->estimatedCost = rows;
    info->estimatedRows = (sqlite3_int64)rows;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (!c->usable || c->op != SQLITE_INDEX_CONSTRAINT_EQ || !is_key(t->class, c->iColumn))
            continue;
        int key = c->iColumn < 0 ? VTAB_ROWID : c->iColumn;
        bool unique = t->class->unique & VTAB_KEY(key);
        info->aConstraintUsage[i].argvIndex = 1;
        info->idxNum = key + 1;
        info->estimatedCost = unique ? 1 : 1 + sqrt(rows);
        info->estimatedRows = unique ? 1 : 1 + (sqlite3_int64)sqrt(rows);
        info->idxFlags = unique ? SQLITE_INDEX_SCAN_UNIQUE : 0;
        break;
    }
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **ret) {
    struct vtab *t = (struct vtab *)base;
    struct vtab_cursor *c = calloc(1, t->class->cursor_size);
    if (!c)
        return SQLITE_NOMEM;
    c->class = t->class;
    c->world = t->world;
    *ret = &c->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base) {
    struct vtab_cursor *c = (struct vtab_cursor *)base;
    if (c->class->close)
        c->class->close(c);
    free(c);
    return SQLITE_OK;
}

/* SQLite checks the constraint again, so a value that is no integer ('5', 5.0) may walk all rows.
 */
static int filter(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
                  sqlite3_value **argv) {
    struct vtab_cursor *c = (struct vtab_cursor *)base;
    (void)text;
    if (plan == 0 || argc != 1 || sqlite3_value_type(argv[0]) != SQLITE_INTEGER)
        return c->class->filter(c, VTAB_ALL, 0);
    return c->class->filter(c, plan - 1, sqlite3_value_int64(argv[0]));
}

static int eof(sqlite3_vtab_cursor *base) {
    struct vtab_cursor *c = (struct vtab_cursor *)base;
    return c->class->eof(c);
}

static int next(sqlite3_vtab_cursor *base) {
    struct vtab_cursor *c = (struct vtab_cursor *)base;
    return c->class->next(c);
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int number) {
    struct vtab_cursor *c = (struct vtab_cursor *)base;
    return c->class->column(c, ctx, number);
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret) {
    struct vtab_cursor *c = (struct vtab_cursor *)base;
    *ret = c->class->rowid(c);
    return SQLITE_OK;
}

static const sqlite3_module module = {
    .xCreate = connect,
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xDestroy = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = eof,
    .xColumn = column,
    .xRowid = rowid,
};

static int explain_columns(sqlite3 *db, const struct vtab_class *class) {
    sqlite3_stmt *insert;
    int rc =
        sqlite3_prepare_v2(db, "INSERT INTO image_column VALUES (?, ?, ?, ?)", -1, &insert, NULL);
    for (size_t i = 0; i < class->ncolumns && rc == SQLITE_OK; i++) {
        sqlite3_bind_text(insert, 1, class->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 2, class->columns[i].name, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 3, column_sql_type(&class->columns[i]), -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 4, class->columns[i].comment, -1, SQLITE_STATIC);
        sqlite3_step(insert);
        rc = sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    return rc;
}

int vtab_create(sqlite3 *db, const struct vtab_class *class, const struct vtab_world *world) {
    struct registration *r = malloc(sizeof *r);
    if (!r)
        return SQLITE_NOMEM;
    *r = (struct registration){class, world};
    int rc = sqlite3_create_module_v2(db, class->name, &module, r, free);
    if (rc != SQLITE_OK)
        return rc;
    char *sql =
        sqlite3_mprintf("CREATE VIRTUAL TABLE \"%w\" USING \"%w\"", class->name, class->name);
    rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc == SQLITE_OK ? explain_columns(db, class) : rc;
}

int vtab_create_all(sqlite3 *db, const struct vtab_world *world) {
    static const struct vtab_class *const derived[] = {
        &vtab_object_class,      &vtab_code_class,         &vtab_symbol_class,
        &vtab_stack_class,       &vtab_site_live_class,    &vtab_pin_class,
        &vtab_span_figure_class, &vtab_arena_figure_class, &vtab_free_run_class};
    static struct vtab_class sections[GOMALLOC_NSECTIONS + 1];
    int rc = sqlite3_exec(db,
                          "CREATE TABLE image_column(\"table\" TEXT NOT NULL, "
                          "\"column\" TEXT NOT NULL, type TEXT NOT NULL, comment TEXT NOT NULL)",
                          NULL, NULL, NULL);
    for (size_t i = 0; i < nimage_tables && rc == SQLITE_OK; i++) {
        vtab_section_class(&image_tables[i], &sections[i]);
        rc = vtab_create(db, &sections[i], world);
    }
    for (size_t i = 0; i < sizeof derived / sizeof derived[0] && rc == SQLITE_OK; i++)
        rc = vtab_create(db, derived[i], world);
    return rc;
}

/* UTF-8. */

/* utf8_length returns the bytes of the character at s (n bytes left), 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t n) {
    size_t want = s[0] < 0x80   ? 1
                  : s[0] < 0xc2 ? 0
                  : s[0] < 0xe0 ? 2
                  : s[0] < 0xf0 ? 3
                  : s[0] < 0xf5 ? 4
                                : 0;
    if (want == 0 || want > n)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
    return overlong || beyond ? 0 : want;
}

void vtab_result_text(sqlite3_context *ctx, const char *text, size_t length) {
    char *copy = sqlite3_malloc64(length + 1);
    if (!copy) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    memcpy(copy, text, length);
    for (size_t i = 0; i < length;) {
        size_t n = utf8_length((const unsigned char *)copy + i, length - i);
        if (n == 0)
            copy[i] = '?';
        i += n ? n : 1;
    }
    sqlite3_result_text64(ctx, copy, length, sqlite3_free, SQLITE_UTF8);
}

void vtab_result_hex(sqlite3_context *ctx, const void *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *b = bytes;
    char *text = sqlite3_malloc64(2 * n + 1);
    if (!text) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[b[i] >> 4];
        text[2 * i + 1] = digits[b[i] & 15];
    }
    sqlite3_result_text64(ctx, text, 2 * n, sqlite3_free, SQLITE_UTF8);
}
