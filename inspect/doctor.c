/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor's rules applied to a target, and what they find in order.  See doctor.h.
 */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "view.h"

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

/* worth tells whether a finding is worth a word. */
static bool worth(const struct doctor_finding *f, int64_t rss) {
    return f->bytes >= f->rule->least_bytes && (rss == 0 || f->percent >= f->rule->least_percent);
}

/* rest_of writes the rows from the one at which stmt stands to the last: "A, B and C". */
static char *rest_of(const struct target *target, sqlite3_stmt *stmt,
                     const struct doctor_rule *rule, int *ret_step) {
    char *list = NULL, *next = doctor_text(target, stmt, rule->row, NULL);
    while ((*ret_step = sqlite3_step(stmt)) == SQLITE_ROW) {
        char *longer = list ? must_format("%s, %s", list, next) : must_dup(next);
        free(list);
        free(next);
        list = longer;
        next = doctor_text(target, stmt, rule->row, NULL);
    }
    if (list) {
        char *whole = must_format("%s and %s", list, next);
        free(list);
        free(next);
        return whole;
    }
    return next;
}

/* read_rows fills a finding from a query that stands at its first row. */
static int read_rows(const struct target *target, sqlite3_stmt *stmt, struct doctor_finding *f) {
    /* The texts are of the first row, the list is of all: so the query runs a second time. */
    int step;
    char *rows = f->rule->row ? rest_of(target, stmt, f->rule, &step) : NULL;
    if (rows) {
        if (step != SQLITE_DONE) {
            free(rows);
            return step;
        }
        sqlite3_reset(stmt);
        if ((step = sqlite3_step(stmt)) != SQLITE_ROW) {
            free(rows);
            return step == SQLITE_DONE ? SQLITE_ERROR : step;
        }
    }
    f->sentence = doctor_text(target, stmt, f->rule->sentence, rows);
    f->advice = doctor_text(target, stmt, f->rule->advice, rows);
    free(rows);
    return SQLITE_DONE;
}

/* apply applies one rule; *ret has no sentence if it finds nothing. */
static enum status apply(const struct target *target, const struct doctor_rule *rule, int64_t rss,
                         bool all, struct doctor_finding *ret, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    *ret = (struct doctor_finding){.rule = rule};
    enum status status = view_prepare(target, rule->query, NULL, &stmt, failure);
    if (status != STATUS_DONE)
        return status;
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        ret->bytes = sqlite3_column_int64(stmt, 0);
        ret->percent = rss > 0 ? 100.0 * (double)ret->bytes / (double)rss : 0;
        step = all || worth(ret, rss) ? read_rows(target, stmt, ret) : SQLITE_DONE;
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
            status = apply(target, rule, rss, all, next, failure);
            report->n += next->sentence != NULL;
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
    free(report->findings);
    *report = (struct doctor_report){.n = 0};
}
