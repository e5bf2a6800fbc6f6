/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Baselines, read and written by SQLite's JSON functions: see baseline.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report/baseline.h"
#include "base/savefile.h"

#define MOST_BYTES (256 << 20) /* of a file that is taken for a baseline */

bool baseline_is(const char *path) {
    char first = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    while (read(fd, &first, 1) == 1 && (first == ' ' || first == '\n' || first == '\t'))
        ;
    close(fd);
    return first == '{';
}

/* read_all returns the text of a file, to be freed, or NULL with errno. */
static char *read_all(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    errno = EFBIG;
    char *text = NULL;
    if (fstat(fd, &st) == 0 && st.st_size < MOST_BYTES) {
        size_t size = (size_t)st.st_size, n = 0;
        ssize_t got = 1;
        text = must_calloc(size + 1, 1);
        while (n < size && (got = read(fd, text + n, size - n)) > 0)
            n += (size_t)got;
        if (got < 0) {
            free(text);
            text = NULL;
        }
    }
    close(fd);
    return text;
}

/* lookup returns what an SQL expression says of the JSON ?1, to be freed; NULL: nothing. */
static char *lookup(const char *json, const char *expression, const char *argument) {
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    char *sql = must_format("SELECT %s", expression), *found = NULL;
    if (sqlite3_open(":memory:", &db) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, json, -1, SQLITE_STATIC);
        if (argument)
            sqlite3_bind_text(stmt, 2, argument, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
            found = must_dup((const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    free(sql);
    return found;
}

enum status baseline_read(const char *path, struct baseline *ret, struct failure *failure) {
    *ret = (struct baseline){.path = path, .text = read_all(path)};
    if (!ret->text)
        return fail(failure, status_of_error(-errno), "%s: %s", path, strerror(errno));
    char *version = lookup(ret->text,
                           "CASE WHEN json_valid(?1) THEN"
                           " coalesce(json_extract(?1, '$.gomalloc_baseline'), '?')"
                           " ELSE 'broken' END",
                           NULL);
    enum status status = STATUS_DONE;
    if (!version || strcmp(version, "broken") == 0 || strcmp(version, "?") == 0)
        status = fail(failure, STATUS_FAILURE,
                      "%s is no baseline%s; \"goinspect check TARGET --write-baseline FILE\" makes "
                      "one",
                      path, version && version[0] == 'b' ? ": its JSON is damaged" : "");
    else if (strcmp(version, "1") != 0)
        status =
            fail(failure, STATUS_BAD_VERSION,
                 "%s is a baseline of version %s, this program reads version 1", path, version);
    free(version);
    if (status != STATUS_DONE)
        baseline_free(ret);
    return status;
}

void baseline_free(struct baseline *b) {
    free(b->text);
    b->text = NULL;
}

char *baseline_word(const struct baseline *b, const char *name) {
    return lookup(b->text, "json_extract(?1, '$.limits.\"' || ?2 || '\"')", name);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* number_of returns the number of the stack that a site of the JSON has; -1: memory is short. */
static int64_t number_of(struct diff *d, sqlite3_stmt *frames, const char *stack) {
    int64_t number = 0;
    sqlite3_bind_text(frames, 1, stack, -1, SQLITE_STATIC);
    while (number >= 0 && sqlite3_step(frames) == SQLITE_ROW)
        if (sqlite3_column_text(frames, 0))
            number = diff_number(d, number, (const char *)sqlite3_column_text(frames, 0));
    sqlite3_reset(frames);
    return number;
}

/* The statements that put one site into place. */
enum { SITES, FRAMES, SITE, SIZES, NAME, NSTATEMENTS };
static const char *const statements[NSTATEMENTS] = {
    [SITES] = "SELECT key + 1, json_extract(value, '$.stack'), json_extract(value, '$.sizes'),"
              " json_extract(value, '$.function'), json_extract(value, '$.location')"
              " FROM json_each(?1, '$.sites')",
    [FRAMES] = "SELECT value FROM json_each(?1) ORDER BY key DESC",
    [SITE] = "INSERT INTO site VALUES (1, ?1, ?2, 0, NULL)",
    [SIZES] = "INSERT INTO site_live SELECT 1, ?1, json_extract(value, '$[0]'),"
              " json_extract(value, '$[1]'), json_extract(value, '$[2]'),"
              " json_extract(value, '$[3]') FROM json_each(?2)"
              " WHERE json_extract(value, '$[2]') > 0 AND json_extract(value, '$[3]') >= 1",
    [NAME] = "INSERT INTO stack_name (stack_id, function, location) VALUES (?1, ?2, ?3)"
             " ON CONFLICT DO UPDATE SET function = excluded.function,"
             " location = excluded.location WHERE stack_id > 0",
};

static int run(sqlite3_stmt *stmt) {
    sqlite3_step(stmt);
    return sqlite3_reset(stmt);
}

/* load_site takes the site on which s[SITES] stands; an SQLite error code. */
static int load_site(struct diff *d, sqlite3_stmt *const *s) {
    const char *stack = (const char *)sqlite3_column_text(s[SITES], 1);
    int64_t site = stack ? sqlite3_column_int64(s[SITES], 0) : 0;
    int64_t number = stack ? number_of(d, s[FRAMES], stack) : 0;
    sqlite3_bind_int64(s[SITE], 1, site);
    sqlite3_bind_int64(s[SITE], 2, number);
    int rc = number < 0 ? SQLITE_NOMEM : run(s[SITE]);
    sqlite3_bind_int64(s[SIZES], 1, site);
    sqlite3_bind_value(s[SIZES], 2, sqlite3_column_value(s[SITES], 2));
    if (rc == SQLITE_OK)
        rc = run(s[SIZES]);
    sqlite3_bind_int64(s[NAME], 1, number);
    sqlite3_bind_value(s[NAME], 2, sqlite3_column_value(s[SITES], 3));
    sqlite3_bind_value(s[NAME], 3, sqlite3_column_value(s[SITES], 4));
    return rc == SQLITE_OK ? run(s[NAME]) : rc;
}

static int load_sites(struct diff *d, const char *text) {
    sqlite3_stmt *s[NSTATEMENTS] = {NULL};
    int rc = SQLITE_OK;
    for (int i = 0; i < NSTATEMENTS && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v2(d->target.db, statements[i], -1, &s[i], NULL);
    if (rc == SQLITE_OK)
        sqlite3_bind_text(s[SITES], 1, text, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(s[SITES])) == SQLITE_ROW)
        rc = load_site(d, s);
    for (int i = 0; i < NSTATEMENTS; i++)
        sqlite3_finalize(s[i]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* load_figures inserts what the baseline says of the whole heap. */
static int load_figures(const struct diff *d, const char *text) {
    static const char *const sql[] = {
        "INSERT INTO snapshot SELECT 1, 'baseline', 0, json_extract(?1, '$.rate'),"
        " json_extract(?1, '$.rss_bytes')",
        "INSERT INTO v1_class SELECT 1, -1, 0, json_extract(?1, '$.live_objects'),"
        " json_extract(?1, '$.live_bytes'), 0, 0, 0"};
    int rc = SQLITE_OK;
    for (int i = 0; i < 2 && rc == SQLITE_OK; i++) {
        sqlite3_stmt *stmt = NULL;
        rc = sqlite3_prepare_v2(d->target.db, sql[i], -1, &stmt, NULL);
        if (rc == SQLITE_OK) {
            sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
            rc = run(stmt);
        }
        sqlite3_finalize(stmt);
    }
    return rc;
}

enum status baseline_load(const struct baseline *b, struct diff *d, struct failure *failure) {
    int rc = load_figures(d, b->text);
    if (rc == SQLITE_OK)
        rc = load_sites(d, b->text);
    if (rc == SQLITE_OK &&
        diff_integer(d, "SELECT sum(live_bytes) FROM v1_class WHERE snapshot_id = 1", -1) >= 0)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "%s is a damaged baseline; make it anew", b->path);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Both yield one text a row. */
static const char head_sql[] =
    "SELECT printf('\"program\":%s,\"rate\":%d,\"live_bytes\":%d,\"live_objects\":%d,"
    "\"rss_bytes\":%d', json_quote(?1), p.rate, sum(c.live_bytes), sum(c.live_objects),"
    " p.rss_bytes)"
    " FROM snapshot p JOIN v1_class c ON c.snapshot_id = p.snapshot_id WHERE p.snapshot_id = 2";

static const char sites_sql[] =
    "WITH slot AS (SELECT CASE l.site_id WHEN 0 THEN -1 ELSE s.stack_id END AS stack_id, l.given,"
    " sum(l.objects * l.weight) AS n, sum(l.objects) AS objects,"
    " sum(l.objects * l.weight * coalesce(l.requested, l.given)) AS bytes"
    " FROM site_live l JOIN site s ON s.snapshot_id = l.snapshot_id AND s.site_id = l.site_id"
    " WHERE l.snapshot_id = 2"
    " AND (l.site_id > 0 OR (SELECT rate FROM snapshot WHERE snapshot_id = 2) <= 1)"
    " GROUP BY 1, 2),"
    " entry AS (SELECT stack_id, sum(bytes) AS bytes, json_group_array(json_array(given,"
    " round(bytes / n, 3), objects, round(n / objects, 6))) AS sizes FROM slot GROUP BY stack_id)"
    " SELECT json_object('function', CASE e.stack_id WHEN -1 THEN '(not recorded)'"
    " WHEN 0 THEN '(no stack)' ELSE coalesce(n.function, n.location) END, 'location', n.location,"
    " 'stack', CASE e.stack_id WHEN -1 THEN NULL ELSE json((SELECT json_group_array(frame) FROM"
    " (WITH RECURSIVE up(id, depth) AS (SELECT e.stack_id, 0 UNION ALL SELECT k.parent_id,"
    " depth + 1 FROM up JOIN stack k ON k.stack_id = up.id WHERE k.parent_id > 0)"
    " SELECT k.frame FROM up JOIN stack k ON k.stack_id = up.id WHERE k.stack_id > 0"
    " ORDER BY depth))) END, 'sizes', json(e.sizes))"
    " FROM entry e LEFT JOIN stack_name n ON n.stack_id = e.stack_id ORDER BY e.bytes DESC, 1";

/* put_rows writes the texts of a query with a separator; false: it failed. */
static bool put_rows(FILE *out, const struct diff *d, const char *sql, const char *argument) {
    sqlite3_stmt *stmt = NULL;
    int step = SQLITE_ERROR;
    const char *separator = "";
    if (sqlite3_prepare_v2(d->target.db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        if (argument)
            sqlite3_bind_text(stmt, 1, argument, -1, SQLITE_STATIC);
        while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
            fprintf(out, "%s%s", separator, (const char *)sqlite3_column_text(stmt, 0));
            separator = ",\n";
        }
    }
    sqlite3_finalize(stmt);
    return step == SQLITE_DONE;
}

static void put_limits(FILE *out, const struct baseline_limit *limits, size_t n) {
    const char *separator = "";
    fputs(",\n\"limits\":{", out);
    for (size_t i = 0; i < n; i++)
        if (limits[i].word) { /* letters, digits and % only: no quotes */
            fprintf(out, "%s\"%s\":\"%s\"", separator, limits[i].name, limits[i].word);
            separator = ",";
        }
    fputs("},\n\"sites\":[\n", out);
}

static char *program_of(const struct diff *d) {
    sqlite3_stmt *stmt = NULL;
    const struct target *t = d->sides[DIFF_B];
    char *program = NULL;
    if (sqlite3_prepare_v2(t->db, "SELECT comm FROM snapshot WHERE snapshot_id = ?", -1, &stmt,
                           NULL) == SQLITE_OK &&
        sqlite3_bind_int64(stmt, 1, t->snapshot) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        program = must_dup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return program ? program : must_dup("?");
}

enum status baseline_write(const char *path, struct diff *d, const struct baseline_limit *limits,
                           size_t nlimits, struct failure *failure) {
    char *text = NULL, *program = program_of(d);
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    /* nothing on the other side: all that there is has grown, and gets a name */
    enum status status = diff_exec(d, "INSERT INTO snapshot VALUES (1, 'none', 0, 1, 0)", failure);
    if (status == STATUS_DONE)
        status = diff_name(d, failure);
    if (status == STATUS_DONE && out) {
        fputs("{\"gomalloc_baseline\":1,", out);
        bool fine = put_rows(out, d, head_sql, program);
        put_limits(out, limits, nlimits);
        fine = put_rows(out, d, sites_sql, NULL) && fine;
        fputs("\n]}\n", out);
        if (!fine)
            status = fail(failure, STATUS_FAILURE, "%s: %s", path, sqlite3_errmsg(d->target.db));
    }
    if (!out || fclose(out) != 0)
        status = fail(failure, STATUS_FAILURE, "not enough memory");
    if (status == STATUS_DONE) {
        int error = savefile_text(path, text, size);
        if (error)
            status = fail(failure, status_of_error(error),
                          "%s: cannot write: %s; nothing was changed", path, strerror(-error));
    }
    free(text);
    free(program);
    return status;
}
