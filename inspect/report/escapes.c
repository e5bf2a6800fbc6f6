/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verdicts for people.
 *
 * A line is FILE:LINE:COLUMN: FUNCTION: VERDICT, the form that editors find places in; it is broken
 * and not cut to the terminal, since what could be done about it stands at its end: only a name
 * that is wider than the terminal is cut.  Of one site there is
 * more: how many objects ended how, how long they lived, and which calls of its stack had ended by
 * then.
 */
#include <stdlib.h>
#include <string.h>

#include "report/escapes.h"
#include "base/elide.h"
#include "base/text.h"
#include "base/wrap.h"

/* column_text returns a column's text without controls, to be freed. */
static char *column_text(sqlite3_stmt *stmt, int column, const char *other) {
    const char *s = (const char *)sqlite3_column_text(stmt, column);
    return text_clean(s ? s : other, strlen(s ? s : other), text_utf8_locale());
}

/* put writes a column's text without controls, or other if it is NULL. */
static void put(FILE *out, sqlite3_stmt *stmt, int column, const char *other) {
    char *clean = column_text(stmt, column, other);
    fputs(clean, out);
    free(clean);
}

static bool is_null(sqlite3_stmt *stmt, int column) {
    return sqlite3_column_type(stmt, column) == SQLITE_NULL;
}

/* finish turns the last step into a status, and ends the statement. */
static enum status finish(sqlite3_stmt *stmt, int step, struct failure *failure) {
    enum status status = STATUS_DONE;
    if (step != SQLITE_DONE && step != SQLITE_ROW)
        status = fail(failure, STATUS_FAILURE, "%s", sqlite3_errmsg(sqlite3_db_handle(stmt)));
    sqlite3_finalize(stmt);
    return status;
}

/* ---- a line a site ------------------------------------------------------------------------ */

/* What a line is made of. */
#define LINE_COLUMNS                                                                               \
    "location, CASE WHEN function <> location THEN function END, text, suggestion, "               \
    "verdict = 'no escape observed'"
enum { L_LOCATION, L_FUNCTION, L_TEXT, L_SUGGESTION, L_COLON };

#define INDENT 4 /* of what does not fit on a terminal's line */

/* put_words writes words after `at` cells of a line, and goes to the next line between two of them
 * when one would not fit; width 0 = any will.  A word that is wider than a line is a name, and cut.
 */
static void put_words(FILE *out, const char *text, size_t at, size_t width) {
    while (*text) {
        size_t n = wrap_piece(text);
        char *whole = must_dup_n(text, n);
        char *word = width > 2 * INDENT ? elide_name(whole, width - INDENT) : must_dup(whole);
        size_t cells = text_width(word);
        if (width && at > INDENT && at + 1 + cells > width) {
            fprintf(out, "\n%*s%s", INDENT, "", word);
            at = INDENT + cells;
        } else {
            fprintf(out, " %s", word);
            at += 1 + cells;
        }
        free(word);
        free(whole);
        text += n + strspn(text + n, " ");
    }
    fputc('\n', out);
}

static void put_line(const struct command_line *line, sqlite3_stmt *stmt) {
    FILE *out = line->output.out;
    bool bold = output_has_color(&line->output), colon = sqlite3_column_int(stmt, L_COLON);
    size_t width = output_width(&line->output);
    char *location = column_text(stmt, L_LOCATION, "??");
    char *name = column_text(stmt, L_FUNCTION, ""), *text = column_text(stmt, L_TEXT, "");
    char *suggestion = column_text(stmt, L_SUGGESTION, "");
    /* cut as a whole, before its blanks are taken for the ends of words */
    char *function = width > 2 * INDENT ? elide_name(name, width - INDENT - 1) : must_dup(name);
    char *words = must_format("%s%s%s%s%s", function, function[0] ? ": " : "", text,
                              !suggestion[0] ? ""
                              : colon        ? ": "
                                             : "; ",
                              suggestion);
    fprintf(out, bold ? "\033[1m%s:\033[0m" : "%s:", location);
    put_words(out, words, text_width(location) + 1, width);
    free(words);
    free(suggestion);
    free(text);
    free(function);
    free(name);
    free(location);
}

enum status escapes_lines(const struct command_line *line, const struct target *target,
                          const struct view_query *query, int64_t limit, bool *ret_more,
                          struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    char *sql = must_format(
        "SELECT " LINE_COLUMNS " FROM %s WHERE snapshot_id = :snapshot%s%s ORDER BY %s",
        query->from, query->where ? " AND " : "", query->where ? query->where : "", query->order);
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    int step = SQLITE_DONE;
    free(sql);
    *ret_more = false;
    if (status != STATUS_DONE)
        return status;
    for (int64_t n = 0; (step = sqlite3_step(stmt)) == SQLITE_ROW; n++) {
        if (n == limit) {
            *ret_more = true;
            break;
        }
        put_line(line, stmt);
    }
    return finish(stmt, step, failure);
}

/* ---- one site ----------------------------------------------------------------------------- */

/* count writes a figure that begins a line of the list. */
static void count(FILE *out, int64_t n) {
    char text[TEXT_NUMBER_SIZE];
    text_count(text, n);
    fprintf(out, "%12s  ", text);
}

static void put_proved(FILE *out, int64_t n) {
    char text[TEXT_NUMBER_SIZE];
    text_count(text, n);
    if (n)
        fprintf(out, "; of %s that is proved", text);
    fputc('\n', out);
}

/* put_rows has a line written for each row of a statement. */
static enum status put_rows(FILE *out, size_t width, const struct target *target,
                            const struct view_query *query, const char *sql,
                            void (*put_row)(FILE *out, sqlite3_stmt *stmt, size_t width),
                            struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    int step;
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    if (status != STATUS_DONE)
        return status;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        count(out, sqlite3_column_int64(stmt, 0));
        put_row(out, stmt, width);
    }
    return finish(stmt, step, failure);
}

/* How far objects escaped within their thread. */
static const char outlived_sql[] =
    "SELECT objects, calls_up, function, location, proved FROM v1_outlived"
    " WHERE snapshot_id = :snapshot AND site_id = :site ORDER BY calls_up IS NULL, calls_up";

static void put_outlived(FILE *out, sqlite3_stmt *stmt, size_t width) {
    if (is_null(stmt, 1)) {
        fputs("outlived other numbers of calls\n", out);
        return;
    }
    int up = sqlite3_column_int(stmt, 1);
    if (up)
        fprintf(out, "escaped %d call%s up, freed before ", up, up == 1 ? "" : "s");
    else
        fputs("not seen to escape, freed before ", out);
    char *name = column_text(stmt, 2, "the call there");
    char *cut = width > 40 ? elide_name(name, width - 16) : elide_name(name, width ? 24 : 0);
    fputs(cut, out);
    free(cut);
    free(name);
    if (!is_null(stmt, 3)) {
        fputs(" (", out);
        put(out, stmt, 3, "");
        fputc(')', out);
    }
    fputs(" had ended", out);
    put_proved(out, sqlite3_column_int64(stmt, 4));
}

/* Who freed what another thread had allocated. */
static const char handover_sql[] = "SELECT objects, allocated_by, freed_by FROM v1_handover"
                                   " WHERE snapshot_id = :snapshot AND site_id = :site"
                                   " ORDER BY objects DESC, from_tid, to_tid LIMIT 10";

static void put_handover(FILE *out, sqlite3_stmt *stmt, size_t width) {
    (void)width;
    fputs("allocated by thread \"", out);
    put(out, stmt, 1, "");
    fputs("\", freed by thread \"", out);
    put(out, stmt, 2, "");
    fputs("\"\n", out);
}

/* Counts that are one figure each, in this order of columns of the statement below. */
static const char *const counts[] = {
    "freed by another thread",
    "freed by a later call of the same function",
    "not told: the thread had changed stacks",
    "not told: no stack was to be had",
    "not told: the stack was too deep",
    "live",
};
#define NCOUNTS (sizeof counts / sizeof counts[0])
enum { S_COUNTS = L_COLON + 1, S_NS50 = S_COUNTS + NCOUNTS, S_NS99, S_BYTES50, S_BYTES99 };
enum { S_CHAINS = S_BYTES99 + 1, S_GROWTHS, S_SIZE50, S_SIZE99, S_JUDGED, S_OBJECTS };

static const char site_sql[] =
    "SELECT " LINE_COLUMNS ", other_thread, reentered, unknown_switched, unknown_stopped,"
    " unknown_deep, live, life_ns_p50, life_ns_p99, life_bytes_p50, life_bytes_p99, chains, "
    "growths,"
    " final_size_p50, final_size_p99, judged, objects"
    " FROM v1_escape WHERE snapshot_id = :snapshot AND site_id = :site";

static void put_counts(FILE *out, sqlite3_stmt *stmt) {
    for (size_t i = 0; i < NCOUNTS; i++) {
        int64_t n = sqlite3_column_int64(stmt, S_COUNTS + (int)i);
        if (n) {
            count(out, n);
            fprintf(out, "%s\n", counts[i]);
        }
    }
}

static void put_lifetimes(FILE *out, sqlite3_stmt *stmt) {
    char p50[TEXT_NUMBER_SIZE], p99[TEXT_NUMBER_SIZE];
    if (is_null(stmt, S_NS99))
        return;
    text_duration(p50, sqlite3_column_int64(stmt, S_NS50));
    text_duration(p99, sqlite3_column_int64(stmt, S_NS99));
    fprintf(out, "\nlived   %s (median), %s (99 of 100 at most)\n", p50, p99);
    text_bytes_plain(p50, sqlite3_column_double(stmt, S_BYTES50));
    text_bytes_plain(p99, sqlite3_column_double(stmt, S_BYTES99));
    fprintf(out, "        while %s (median), %s (99 of 100 at most) were allocated\n", p50, p99);
}

static void put_chains(FILE *out, sqlite3_stmt *stmt) {
    char p50[TEXT_NUMBER_SIZE], p99[TEXT_NUMBER_SIZE], n[TEXT_NUMBER_SIZE], of[TEXT_NUMBER_SIZE];
    if (sqlite3_column_int64(stmt, S_CHAINS) == 0)
        return;
    text_count(n, sqlite3_column_int64(stmt, S_GROWTHS));
    text_count(of, sqlite3_column_int64(stmt, S_CHAINS));
    text_bytes_plain(p50, sqlite3_column_double(stmt, S_SIZE50));
    text_bytes_plain(p99, sqlite3_column_double(stmt, S_SIZE99));
    fprintf(out, "resized %s times in all, %s objects; at the end %s (median), %s (99 of 100)\n", n,
            of, p50, p99);
}

/* put_frame has two lines on a terminal that is too narrow for one, and shortens what is too long
 * even so. */
static void put_frame(const struct command_line *line, const char *lead, const char *name,
                      const char *place, const char *tail) {
    size_t width = output_width(&line->output), indent = strlen(lead);
    size_t cells = indent + text_width(name) + text_width(place) + strlen(tail);
    if (!width || cells <= width) {
        fprintf(line->output.out, "%s%s%s%s\n", lead, name, place, tail);
        return;
    }
    place += strspn(place, " ");
    size_t room = width > indent + 16 ? width - indent : 16;
    char *short_name = elide_name(name, room);
    char *short_place = elide_begin(place, room - 2 - (tail[0] ? strlen(tail) : 0));
    fprintf(line->output.out, "%s%s\n%*s%s%s\n", lead, short_name, (int)indent + 2, "", short_place,
            tail);
    free(short_place);
    free(short_name);
}

/* put_stack prints the site's stack, and which calls had ended when most objects were freed. */
static enum status put_stack(const struct command_line *line, const struct target *target,
                             const struct view_query *query, struct failure *failure) {
    static const char sql[] =
        "SELECT name, substr(text, length(name) + 1), allocator, ended FROM ("
        "SELECT printf('#%d %s', s.frame, coalesce(s.function, '?' || '?')) AS name, s.text, "
        "s.allocator,"
        " s.frame, s.inline_depth,"
        " CASE WHEN s.inlined THEN NULL ELSE s.frame < e.wrappers + coalesce(e.calls_up, 0) END"
        " AS ended FROM v1_escape e JOIN v1_stack s ON +s.snapshot_id = e.snapshot_id"
        " AND s.site_id = e.site_id WHERE e.snapshot_id = :snapshot AND e.site_id = :site)"
        " ORDER BY frame, inline_depth";
    sqlite3_stmt *stmt = NULL;
    int step;
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    if (status != STATUS_DONE)
        return status;
    output_text(&line->output, "\nstack, and which calls had ended when most objects were freed\n");
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        char *name = column_text(stmt, 0, "??"), *place = column_text(stmt, 1, "");
        put_frame(line, sqlite3_column_int(stmt, 3) ? "    ended  " : "           ", name, place,
                  sqlite3_column_int(stmt, 2) ? "  (wrapper)" : "");
        free(place);
        free(name);
    }
    return finish(stmt, step, failure);
}

/* put_figures says how many objects ended how, and how long they lived. */
static enum status put_figures(FILE *out, size_t width, sqlite3_stmt *stmt,
                               const struct target *target, const struct view_query *query,
                               struct failure *failure) {
    char judged[TEXT_NUMBER_SIZE], objects[TEXT_NUMBER_SIZE];
    text_count(judged, sqlite3_column_int64(stmt, S_JUDGED));
    text_count(objects, sqlite3_column_int64(stmt, S_OBJECTS));
    fprintf(out, "\njudged: %s of %s objects\n", judged, objects);
    enum status status = put_rows(out, width, target, query, outlived_sql, put_outlived, failure);
    put_counts(out, stmt);
    if (status == STATUS_DONE)
        status = put_rows(out, width, target, query, handover_sql, put_handover, failure);
    put_lifetimes(out, stmt);
    put_chains(out, stmt);
    return status;
}

enum status escapes_site(const struct command_line *line, const struct target *target, int64_t site,
                         bool *ret_found, struct failure *failure) {
    const struct view_binding binding = {":site", site, NULL};
    const struct view_query query = {.bindings = &binding, .nbindings = 1};
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, site_sql, &query, &stmt, failure);
    if (status != STATUS_DONE)
        return status;
    int step = sqlite3_step(stmt);
    *ret_found = step == SQLITE_ROW;
    if (*ret_found) {
        struct output_prose prose;
        put_line(line, stmt);
        status = put_figures(output_prose(&prose), output_width(&line->output), stmt, target,
                             &query, failure);
        output_prose_end(&line->output, &prose);
        if (status == STATUS_DONE)
            status = put_stack(line, target, &query, failure);
    }
    enum status end = finish(stmt, step, failure);
    return status == STATUS_DONE ? end : status;
}
