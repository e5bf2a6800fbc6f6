/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor's rules applied to a target, and what they find in order.  See doctor.h.
 */
#include <stdlib.h>
#include <string.h>

#include "report/doctor.h"
#include "cli/view.h"

#define LIST_LEAST                                                                                 \
    20 /* of rows, those with so small a part of the first's bytes are not listed                  \
        */

#define ROWS "\1" /* stands for the list until it is known */

static const struct doctor_family *const families[] = {&doctor_leaks,    &doctor_fragments,
                                                       &doctor_kept,     &doctor_process,
                                                       &doctor_recorder, &doctor_advice};

/* resident_set returns the bytes of the process that are resident, 0: not known. */
static int64_t resident_set(const struct target *target) {
    static const char sql[] = "SELECT rss_bytes FROM snapshot WHERE snapshot_id = :snapshot";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    int64_t bytes = 0;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW)
        bytes = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return bytes;
}

/* worth tells whether a finding is worth a word; all: also if it is small. */
static bool worth(const struct doctor_finding *f, int64_t rss, bool all) {
    if (f->rule->rank == DOCTOR_MEMORY && f->bytes <= 0)
        return false;
    if (all)
        return true;
    return f->bytes >= f->rule->least_bytes && (rss == 0 || f->percent >= f->rule->least_percent);
}

/* row_bytes returns the column of that name, 0: there is none. */
static double row_bytes(sqlite3_stmt *stmt) {
    for (int i = 0; i < sqlite3_column_count(stmt); i++)
        if (strcmp(sqlite3_column_name(stmt, i), "row_bytes") == 0)
            return sqlite3_column_double(stmt, i);
    return 0;
}

/* append_row appends a row to a list of which all rows but the last have been put into *list. */
static void append_row(char **list, char **last, const char *separator, char *next) {
    if (*last) {
        char *longer = must_format("%s%s%s", *list ? *list : "", *list ? separator : "", *last);
        free(*list);
        free(*last);
        *list = longer;
    }
    *last = next;
}

/* list_rows writes the rows from the one at which stmt stands to the last: "A, B and C". */
static char *list_rows(const struct target *target, sqlite3_stmt *stmt, const char *row,
                       int *ret_step) {
    double first = row_bytes(stmt);
    char *list = NULL, *last = NULL;
    do {
        if (row_bytes(stmt) * LIST_LEAST >= first)
            append_row(&list, &last, strchr(row, ',') ? "; " : ", ",
                       doctor_text(target, stmt, row, NULL));
    } while ((*ret_step = sqlite3_step(stmt)) == SQLITE_ROW);
    append_row(&list, &last, strchr(row, ',') ? "; " : " and ", NULL);
    return list;
}

/* fill_list puts the list into a text at the place of ROWS. */
static char *fill_list(char *text, const char *list) {
    char *at = strchr(text, ROWS[0]);
    if (!at || !list)
        return text;
    char *filled = must_format("%.*s%s%s", (int)(at - text), text, list, at + 1);
    free(text);
    return filled;
}

/* read_rows fills a finding from a query that stands at its first row, of which the texts are; the
 * list is of all rows.  Returns what the last step did: SQLITE_DONE, or an error. */
static int read_rows(const struct target *target, sqlite3_stmt *stmt, struct doctor_finding *f) {
    int step = SQLITE_DONE;
    char *text = doctor_text(target, stmt, f->rule->sentence, ROWS), *list = NULL;
    f->advice = doctor_text(target, stmt, f->rule->advice, NULL);
    if (f->rule->row)
        list = list_rows(target, stmt, f->rule->row, &step);
    f->sentence = fill_list(text, list);
    free(list);
    return step;
}

/* apply applies one rule; *ret has no sentence if it finds nothing.  *ret_unread: the target, a
 * file of an old version, lacks what the query reads. */
static enum status apply(const struct target *target, const struct doctor_rule *rule, int64_t rss,
                         bool all, struct doctor_finding *ret, bool *ret_unread, bool *ret_small,
                         struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    enum status status = STATUS_DONE;
    *ret = (struct doctor_finding){.rule = rule};
    *ret_small = false;
    *ret_unread = sqlite3_prepare_v2(target->db, rule->query, -1, &stmt, NULL) == SQLITE_ERROR;
    if (*ret_unread)
        return status;
    sqlite3_finalize(stmt);
    status = view_prepare(target, rule->query, NULL, &stmt, failure);
    if (status != STATUS_DONE)
        return status;
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        ret->bytes = sqlite3_column_int64(stmt, 0);
        ret->percent = rss > 0 ? 100.0 * (double)ret->bytes / (double)rss : 0;
        *ret_small = !worth(ret, rss, all) && worth(ret, rss, true);
        step = worth(ret, rss, all) ? read_rows(target, stmt, ret) : SQLITE_DONE;
    }
    if (step != SQLITE_DONE)
        status = fail(failure, STATUS_FAILURE, "%s: %s: %s", target->word, rule->kind,
                      sqlite3_errmsg(target->db));
    sqlite3_finalize(stmt);
    return status;
}

static int worse(const void *a, const void *b) {
    const struct doctor_finding *x = a, *y = b;
    if (x->rule->rank != y->rule->rank)
        return x->rule->rank < y->rule->rank ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return strcmp(x->rule->kind, y->rule->kind);
}

static void append(char **list, const char *word) {
    char *longer = must_format("%s%s%s", *list ? *list : "", *list ? ", " : "", word);
    free(*list);
    *list = longer;
}

/* apply_all applies the rules of which the needs within mask are exactly those given, and adds what
 * they find. */
static enum status apply_all(const struct target *target, bool all, unsigned mask, unsigned needs,
                             struct doctor_report *report, struct failure *failure) {
    enum status status = STATUS_DONE;
    int64_t rss = resident_set(target);
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
        for (size_t k = 0; k < families[i]->n && status == STATUS_DONE; k++) {
            const struct doctor_rule *rule = &families[i]->rules[k];
            struct doctor_finding *next = &report->findings[report->n];
            if ((rule->needs & mask) != needs || (rule->needs & ~report->seen) != 0)
                continue;
            bool unread, small;
            status = apply(target, rule, rss, all, next, &unread, &small, failure);
            report->n += next->sentence != NULL;
            report->nsmall += small;
            if (unread)
                append(&report->unread, rule->kind);
        }
    qsort(report->findings, report->n, sizeof(*report->findings), worse);
    return status;
}

enum status doctor_examine(const struct target *target, bool all, struct doctor_report *ret,
                           struct failure *failure) {
    size_t most = 0;
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
        most += families[i]->n;
    *ret = (struct doctor_report){.findings = must_calloc(most, sizeof(*ret->findings))};
    doctor_needs(target, ret);
    enum status status = apply_all(target, all, 0, 0, ret, failure);
    if (status != STATUS_DONE)
        doctor_report_free(ret);
    return status;
}

enum status doctor_examine_leaks(const struct target *target, bool all,
                                 struct doctor_report *report, struct failure *failure) {
    struct doctor_report other = {.n = 0};
    doctor_needs(target, &other);
    free(report->missing[NEED_LEAKS]);
    report->missing[NEED_LEAKS] = other.missing[NEED_LEAKS];
    report->seen |= other.seen & NEED(LEAKS);
    other.missing[NEED_LEAKS] = NULL;
    doctor_report_free(&other);
    return apply_all(target, all, NEED(LEAKS), NEED(LEAKS), report, failure);
}

void doctor_report_free(struct doctor_report *report) {
    for (size_t i = 0; i < report->n; i++) {
        free(report->findings[i].sentence);
        free(report->findings[i].advice);
    }
    for (int i = 0; i < NEED_NUMBER; i++)
        free(report->missing[i]);
    free(report->unread);
    free(report->findings);
    *report = (struct doctor_report){.n = 0};
}
