/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Limits held against a heap.
 *
 * A limit should not fail by chance.  So what is compared is counted and not estimated where it can
 * be: live bytes are those given, from the spans' bitmaps, which are exact at every rate.  Only
 * call sites are estimates if allocations are sampled; of these, growth that may be chance is
 * passed over.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/check.h"
#include "base/text.h"
#include "cli/view.h"

#define MOST_DETAILS 5 /* lines below a finding */

const struct check_kind check_kinds[NCHECKS] = {
    [CHECK_LEAKS] = {"max-leaks", LIMIT_OBJECTS | LIMIT_BYTES, LIMIT_OBJECTS, false},
    [CHECK_GROWTH] = {"max-growth", LIMIT_OBJECTS | LIMIT_BYTES | LIMIT_PERCENT, 0, true},
    [CHECK_SITE_GROWTH] = {"max-site-growth", LIMIT_OBJECTS | LIMIT_BYTES | LIMIT_PERCENT, 0, true},
    [CHECK_FRAG] = {"max-frag", LIMIT_BYTES | LIMIT_PERCENT, 0, false},
    [CHECK_LIVE] = {"max-live", LIMIT_OBJECTS | LIMIT_BYTES, 0, false},
    [CHECK_RSS] = {"max-rss", LIMIT_BYTES, 0, false},
};

/* "1.5 MiB" for a message. */
struct amount {
    char text[LIMIT_TEXT_SIZE];
};

static struct amount amount(enum limit_unit unit, double value) {
    struct amount a;
    limit_text(a.text, unit, value);
    return a;
}

/* detail returns a row of bytes, objects or NULL, what, and where or NULL, as a text. */
static char *detail(sqlite3_stmt *row) {
    struct amount bytes = amount(LIMIT_BYTES, sqlite3_column_double(row, 0));
    struct amount objects = amount(LIMIT_OBJECTS, sqlite3_column_double(row, 1));
    const char *what = (const char *)sqlite3_column_text(row, 2);
    const char *where = (const char *)sqlite3_column_text(row, 3);
    bool place = where && what && strcmp(where, what) != 0;
    if (sqlite3_column_type(row, 1) == SQLITE_NULL)
        return must_format("%s: %s", bytes.text, what ? what : "?");
    return must_format("%s in %s: %s%s%s%s", bytes.text, objects.text, what ? what : "?",
                       place ? " (" : "", place ? where : "", place ? ")" : "");
}

/* details returns the rows of a query as lines; NULL if there are none. */
static char *details(const struct target *target, const char *sql) {
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    char *lines = NULL;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE)
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            char *line = detail(stmt);
            char *more = must_format("%s%s%s", lines ? lines : "", lines ? "\n" : "", line);
            free(line);
            free(lines);
            lines = more;
        }
    sqlite3_finalize(stmt);
    return lines;
}

/* row prepares a query of one row and steps to it; NULL with *failure. */
static sqlite3_stmt *row(const struct target *target, const char *sql, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW)
        return stmt;
    sqlite3_finalize(stmt);
    fail(failure, STATUS_FAILURE,
         "%s does not say that: it was made by an older goinspect; make "
         "it anew",
         target->word);
    return NULL;
}

/* ---- one function a limit ----------------------------------------------------------------- */

static enum status leaks(const struct check *c, struct check_result *r, struct failure *failure) {
    struct leak_totals t = {0};
    enum status status = leakcheck_there(c->target, failure);
    if (status == STATUS_DONE)
        status = leakcheck_totals(c->target, c->filter, &t, failure);
    if (status != STATUS_DONE)
        return status;
    double objects = (double)(t.direct + t.indirect),
           bytes = (double)(t.direct_bytes + t.indirect_bytes);
    r->value = r->limit.unit == LIMIT_BYTES ? bytes : objects;
    r->message = objects == 0 ? must_dup("nothing has leaked")
                              : must_format("%s in %s leaked", amount(LIMIT_BYTES, bytes).text,
                                            amount(LIMIT_OBJECTS, objects).text);
    char *sql =
        must_format("SELECT sum(bytes + indirect_bytes), sum(objects + indirect_objects), function,"
                    " location FROM v1_leak_site WHERE snapshot_id = :snapshot"
                    " AND site_id NOT IN (%s) GROUP BY function, location"
                    " ORDER BY 1 DESC, function LIMIT %d",
                    c->filter->sites ? c->filter->sites : "", MOST_DETAILS);
    r->details = details(c->target, sql);
    r->next = must_format("goinspect leaks %s --stacks", c->target->word);
    free(sql);
    return STATUS_DONE;
}

/* A baseline that is a text has less than diff wants. */
static char *next_of_growth(const struct check *c) {
    if (c->diff->sides[DIFF_A])
        return must_format("goinspect diff %s %s", c->baseline, c->target->word);
    return must_format("goinspect sites %s --stacks", c->target->word);
}

/* What the whole heap has more than the baseline. */
static enum status growth(const struct check *c, struct check_result *r, struct failure *failure) {
    bool objects = r->limit.unit == LIMIT_OBJECTS;
    enum limit_unit unit = objects ? LIMIT_OBJECTS : LIMIT_BYTES;
    double was = diff_real(c->diff,
                           objects ? "SELECT sum(live_objects) FROM v1_class WHERE snapshot_id = 1"
                                   : "SELECT sum(live_bytes) FROM v1_class WHERE snapshot_id = 1",
                           0);
    double is = diff_real(c->diff,
                          objects ? "SELECT sum(live_objects) FROM v1_class WHERE snapshot_id = 2"
                                  : "SELECT sum(live_bytes) FROM v1_class WHERE snapshot_id = 2",
                          0);
    double grown = is - was;
    (void)failure;
    r->value = r->limit.unit == LIMIT_PERCENT ? (was > 0     ? 100 * grown / was
                                                 : grown > 0 ? 1e9
                                                             : 0)
                                              : grown;
    char percent[32] = "";
    if (was > 0)
        snprintf(percent, sizeof(percent), " (%+.1f%%)", 100 * grown / was);
    r->message = must_format("live %s, %s in the baseline%s", amount(unit, is).text,
                             amount(unit, was).text, percent);
    r->details = details(&c->diff->target,
                         "SELECT grown_bytes, grown_objects, function, location FROM v1_diff"
                         " WHERE snapshot_a = 1 AND snapshot_b = 2 AND grown_bytes > 0"
                         " AND coalesce(significant, 1) ORDER BY 1 DESC, function LIMIT 5");
    r->next = next_of_growth(c);
    return STATUS_DONE;
}

/* The call site that has grown most; a percentage is one of all that is live in the baseline. */
static enum status site_growth(const struct check *c, struct check_result *r,
                               struct failure *failure) {
    bool objects = r->limit.unit == LIMIT_OBJECTS;
    double least = r->limit.most;
    double whole = diff_real(c->diff,
                             "SELECT sum(live_bytes_a) FROM diff_figure"
                             " WHERE snapshot_a = 1 AND snapshot_b = 2",
                             0);
    (void)failure;
    if (r->limit.unit == LIMIT_PERCENT)
        least = least * whole / 100;
    char *rows = must_format("FROM v1_diff WHERE snapshot_a = 1 AND snapshot_b = 2"
                             " AND coalesce(significant, 1) AND %s > 0 AND stack_id IS NOT NULL",
                             objects ? "grown_objects" : "grown_bytes");
    char *most = must_format("SELECT max(%s) %s", objects ? "grown_objects" : "grown_bytes", rows);
    char *count = must_format("SELECT count(*) %s AND %s > %.17g", rows,
                              objects ? "grown_objects" : "grown_bytes", least);
    char *list = must_format("SELECT grown_bytes, grown_objects, function, location %s"
                             " AND %s > %.17g ORDER BY 1 DESC, function LIMIT %d",
                             rows, objects ? "grown_objects" : "grown_bytes", least, MOST_DETAILS);
    double grown = diff_real(c->diff, most, 0);
    int64_t n = diff_integer(c->diff, count, 0);
    r->value = r->limit.unit == LIMIT_PERCENT ? (whole > 0   ? 100 * grown / whole
                                                 : grown > 0 ? 1e9
                                                             : 0)
                                              : grown;
    r->message = grown <= 0 ? must_dup("no call site has grown")
                 : n == 0   ? must_format("no call site has grown by more than %s",
                                          amount(objects ? LIMIT_OBJECTS : LIMIT_BYTES, grown).text)
                            : must_format("%lld call site%s grown by more than that, one by %s",
                                          (long long)n, n == 1 ? " has" : "s have",
                                          amount(objects ? LIMIT_OBJECTS : LIMIT_BYTES, grown).text);
    r->details = details(&c->diff->target, list);
    r->next = next_of_growth(c);
    free(rows);
    free(most);
    free(count);
    free(list);
    return STATUS_DONE;
}

static enum status frag(const struct check *c, struct check_result *r, struct failure *failure) {
    sqlite3_stmt *s = row(c->target,
                          "SELECT frag_percent, external_bytes, tail_bytes, free_page_bytes,"
                          " span_bytes FROM v1_fragmentation"
                          " WHERE snapshot_id = :snapshot AND size_class IS NULL",
                          failure);
    if (!s)
        return failure->status;
    double percent = sqlite3_column_double(s, 0), slots = sqlite3_column_double(s, 1),
           tails = sqlite3_column_double(s, 2), pages = sqlite3_column_double(s, 3),
           whole = sqlite3_column_double(s, 4) + pages;
    sqlite3_finalize(s);
    r->value = r->limit.unit == LIMIT_PERCENT ? percent : slots + tails + pages;
    r->message = must_format("%.1f%% of the heap, %s of %s, is given to nobody: %s in free slots, "
                             "%s in free pages, %s in ends of spans",
                             percent, amount(LIMIT_BYTES, slots + tails + pages).text,
                             amount(LIMIT_BYTES, whole).text, amount(LIMIT_BYTES, slots).text,
                             amount(LIMIT_BYTES, pages).text, amount(LIMIT_BYTES, tails).text);
    r->details = details(c->target, "SELECT external_bytes, NULL, 'free slots of ' ||"
                                    " CASE size_class WHEN 0 THEN 'large objects'"
                                    " ELSE slot_bytes || ' bytes' END || ' in ' || spans ||"
                                    " CASE spans WHEN 1 THEN ' span' ELSE ' spans' END, NULL"
                                    " FROM v1_fragmentation WHERE snapshot_id = :snapshot"
                                    " AND size_class IS NOT NULL AND external_bytes > 0"
                                    " ORDER BY 1 DESC, size_class LIMIT 5");
    r->next = must_format("goinspect pins %s", c->target->word);
    return STATUS_DONE;
}

static enum status live(const struct check *c, struct check_result *r, struct failure *failure) {
    sqlite3_stmt *s = row(c->target,
                          "SELECT live_bytes, live_objects FROM v1_snapshot"
                          " WHERE snapshot_id = :snapshot",
                          failure);
    if (!s)
        return failure->status;
    double bytes = sqlite3_column_double(s, 0), objects = sqlite3_column_double(s, 1);
    sqlite3_finalize(s);
    r->value = r->limit.unit == LIMIT_BYTES ? bytes : objects;
    r->message = must_format("%s live in %s", amount(LIMIT_BYTES, bytes).text,
                             amount(LIMIT_OBJECTS, objects).text);
    r->details = details(c->target, "SELECT live_bytes, live_objects, function, location FROM"
                                    " v1_site WHERE snapshot_id = :snapshot AND live_bytes > 0"
                                    " ORDER BY 1 DESC, site_id LIMIT 5");
    r->next = must_format("goinspect sites %s", c->target->word);
    return STATUS_DONE;
}

static enum status rss(const struct check *c, struct check_result *r, struct failure *failure) {
    sqlite3_stmt *s =
        row(c->target, "SELECT rss_bytes FROM v1_snapshot WHERE snapshot_id = :snapshot", failure);
    if (!s)
        return failure->status;
    r->value = sqlite3_column_double(s, 0);
    sqlite3_finalize(s);
    r->message = must_format("%s resident", amount(LIMIT_BYTES, r->value).text);
    r->next = must_format("goinspect status %s", c->target->word);
    return STATUS_DONE;
}

static enum status (*const functions[NCHECKS])(const struct check *, struct check_result *,
                                               struct failure *) = {
    [CHECK_LEAKS] = leaks, [CHECK_GROWTH] = growth, [CHECK_SITE_GROWTH] = site_growth,
    [CHECK_FRAG] = frag,   [CHECK_LIVE] = live,     [CHECK_RSS] = rss};

/* ---- all of them -------------------------------------------------------------------------- */

/* By how much a limit is exceeded: a multiple of it, however large if it is 0. */
static double excess(const struct check_result *r) {
    return r->limit.most > 0 ? r->value / r->limit.most : r->value > 0 ? INFINITY : 0;
}

static int compare(const void *x, const void *y) {
    const struct check_result *a = x, *b = y;
    double p = excess(a), q = excess(b);
    if (a->exceeded != b->exceeded)
        return a->exceeded ? -1 : 1;
    return p != q ? (p > q ? -1 : 1) : (int)a->id - (int)b->id;
}

enum status check_run(const struct check *check, struct check_result results[NCHECKS],
                      size_t *ret_n, struct failure *failure) {
    size_t n = 0;
    for (int i = 0; i < NCHECKS; i++) {
        if (!check->limits[i].word)
            continue;
        struct check_result *r = &results[n++];
        *r = (struct check_result){.id = (enum check_id)i, .limit = check->limits[i]};
        enum status status = functions[i](check, r, failure);
        if (status != STATUS_DONE) {
            check_free(results, n);
            return status;
        }
        r->exceeded = r->value > r->limit.most;
        if (!r->exceeded) {
            free(r->details);
            r->details = NULL;
        }
    }
    qsort(results, n, sizeof(*results), compare);
    *ret_n = n;
    return STATUS_DONE;
}

void check_free(struct check_result *results, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(results[i].message);
        free(results[i].details);
        free(results[i].next);
    }
}
