/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect doctor: what is wrong with a heap, in sentences, worst first.
 *
 * The findings are those of doctor.h.  For people they are a page of text, wrapped to the terminal;
 * in the other formats a finding is a row.  What was not looked at is always said.
 */
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "report/doctor.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/wrap.h"

#define SECTION(id) (UINT64_C(1) << GOMALLOC_SECTION_##id)
#define LEAK_SECTIONS                                                                              \
    (CLIENT_LEAKS | SECTION(PROCESS) | SECTION(MAPPING) | SECTION(FRAME) | SECTION(SITE))

#define MARGIN 3 /* of what belongs to a numbered finding */

static const struct column columns[] = {
    {"kind", NULL, KIND_TEXT, 0, "stable name of the finding"},
    {"bytes", NULL, KIND_BYTES, 0, "could come back; 0: it is not about bytes"},
    {"share", NULL, KIND_PERCENT, 0, "of these, of the resident set"},
    {"sentence", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE, "what was found"},
    {"advice", NULL, KIND_TEXT, COLUMN_EXTRA, "what to do"},
    {"query", NULL, KIND_TEXT, COLUMN_EXTRA, "SQL that yields the figures of the sentence"},
};

struct own {
    bool leaks, queries, all;
};

enum { OPT_LEAKS = 0x300, OPT_QUERIES, OPT_ALL };

static const struct argp_option options[] = {
    {"leaks", OPT_LEAKS, NULL, 0, "have a live process look for leaks, which pauses it briefly", 1},
    {"queries", OPT_QUERIES, NULL, 0, "below each finding the SQL that it is from", 1},
    {"all", OPT_ALL, NULL, 0, "also what is too small to be worth a word", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    (void)arg, (void)state;
    switch (key) {
    case OPT_LEAKS:
        own->leaks = true;
        break;
    case OPT_QUERIES:
        own->queries = true;
        break;
    case OPT_ALL:
        own->all = true;
        break;
    }
}

/* ---- a page of text ----------------------------------------------------------------------- */

struct page {
    const struct command_line *line;
    const struct target *target;
    size_t width; /* cells */
};

/* paragraph writes text that may hold anything, wrapped. */
static void paragraph(const struct page *page, const char *text, size_t first, size_t others) {
    char *clean = text_clean(text, strlen(text), text_utf8_locale());
    wrap_print(page->line->output.out, clean, page->width, first, others);
    free(clean);
}

static void print_title(const struct page *page) {
    static const char resident_sql[] =
        "SELECT v.comm, v.pid, v.kind, v.captured_ns, v.rss_bytes, v.live_bytes, v.live_objects,"
        " max(0, r.bytes - v.live_bytes) AS overhead_bytes,"
        " 100.0 * max(0, r.bytes - v.live_bytes) / nullif(v.rss_bytes, 0) AS overhead_percent"
        " FROM v1_snapshot v LEFT JOIN (SELECT snapshot_id, sum(resident_bytes) AS bytes"
        " FROM resident WHERE name IN ('heap.spans', 'heap.free', 'heap.page_cache', 'metadata',"
        " 'recorder', 'agent', 'library') GROUP BY snapshot_id) r"
        " ON r.snapshot_id = v.snapshot_id WHERE v.snapshot_id = :snapshot";
    static const char old_sql[] =
        "SELECT comm, pid, kind, captured_ns, rss_bytes, live_bytes, live_objects,"
        " NULL AS overhead_bytes, NULL AS overhead_percent"
        " FROM v1_snapshot WHERE snapshot_id = :snapshot";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    if (view_prepare(page->target, resident_sql, NULL, &stmt, &ignored) != STATUS_DONE)
        view_prepare(page->target, old_sql, NULL, &stmt, &ignored);
    if (stmt && sqlite3_step(stmt) == SQLITE_ROW) {
        char when[TEXT_NUMBER_SIZE];
        text_moment(when, sqlite3_column_int64(stmt, 3));
        char *title = must_format("%s, pid %d, %s", (const char *)sqlite3_column_text(stmt, 0),
                                  sqlite3_column_int(stmt, 1), when);
        char *figures = doctor_text(page->target, stmt,
                                    "RSS {rss_bytes}: {live_bytes} in {live_objects} live object"
                                    "{live_objects||s}[, {overhead_bytes} ({overhead_percent}) "
                                    "overhead of malloc].",
                                    NULL);
        paragraph(page, title, 0, 0);
        paragraph(page, figures, 0, 0);
        free(figures);
        free(title);
    }
    sqlite3_finalize(stmt);
    fputc('\n', page->line->output.out);
}

/* print_query writes a query so that it can be copied: each line as it is, behind the margin. */
static void print_query(const struct page *page, const char *query) {
    FILE *out = page->line->output.out;
    fputc('\n', out);
    for (const char *p = query; *p;) {
        size_t n = strcspn(p, "\n");
        fprintf(out, "%*s%.*s%s\n", MARGIN, "", (int)n, p, p[n] ? "" : ";");
        p += n + (p[n] == '\n');
    }
}

/* print_heading writes the number, the kind and the size, in two lines if one is too short. */
static void print_heading(const struct page *page, size_t number, const struct doctor_finding *f) {
    FILE *out = page->line->output.out;
    bool bold = output_has_color(&page->line->output);
    char bytes[TEXT_NUMBER_SIZE], *size = NULL;
    text_bytes_plain(bytes, (double)f->bytes);
    if (f->bytes > 0 && f->percent > 0)
        size = must_format("%s, %.*f %% of the RSS", bytes, f->percent < 9.95 ? 1 : 0, f->percent);
    else if (f->bytes > 0)
        size = must_dup(bytes);
    fprintf(out, "%2zu %s%s%s", number, bold ? "\033[1m" : "", f->rule->kind,
            bold ? "\033[0m" : "");
    if (size && MARGIN + strlen(f->rule->kind) + 2 + strlen(size) <= page->width)
        fprintf(out, ": %s", size);
    else if (size)
        fprintf(out, ":\n%*s%s", MARGIN, "", size);
    fputc('\n', out);
    free(size);
}

static void print_finding(const struct page *page, size_t number, const struct doctor_finding *f) {
    const struct own *own = page->line->own;
    char *advice = must_format("-> %s", f->advice);
    print_heading(page, number, f);
    paragraph(page, f->sentence, MARGIN, MARGIN);
    paragraph(page, advice, MARGIN, MARGIN + 3);
    free(advice);
    if (own->queries)
        print_query(page, f->rule->query);
    fputc('\n', page->line->output.out);
}

/* looked_at returns "A, B and C", to be freed; NULL: nothing. */
static char *looked_at(const struct doctor_report *report) {
    char *list = NULL;
    unsigned left = report->seen;
    for (int need = 0; need < NEED_NUMBER; need++) {
        if (!(report->seen & 1u << need))
            continue;
        left &= ~(1u << need);
        char *longer = must_format("%s%s%s", list ? list : "",
                                   !list  ? ""
                                   : left ? ", "
                                          : " and ",
                                   doctor_need_name(need));
        free(list);
        list = longer;
    }
    return list;
}

/* unlooked calls visit with a line for each thing that was not looked at. */
static void unlooked(const struct doctor_report *report, const struct target *target,
                     void (*visit)(const void *context, const char *text), const void *context) {
    for (int need = 0; need < NEED_NUMBER; need++) {
        if (!report->missing[need])
            continue;
        char *text =
            must_format("not looked at: %s; %s", doctor_need_name(need), report->missing[need]);
        visit(context, text);
        free(text);
    }
    if (report->unread) {
        char *text = must_format("not looked at: %s; %s was made by an older goinspect",
                                 report->unread, target->word);
        visit(context, text);
        free(text);
    }
}

static void print_unlooked(const void *context, const char *text) {
    char *sentence = must_format("N%s.", text + 1);
    paragraph(context, sentence, 0, 2);
    free(sentence);
}

static void print_page(const struct command_line *line, const struct target *target,
                       const struct doctor_report *report) {
    size_t terminal = output_width(&line->output);
    const struct page page = {line, target, terminal && terminal < 100 ? terminal : 80};
    char *list = looked_at(report);
    if (!line->output.no_header)
        print_title(&page);
    for (size_t i = 0; i < report->n && (line->output.limit < 0 || (int64_t)i < line->output.limit);
         i++)
        print_finding(&page, i + 1, &report->findings[i]);
    char *small = must_format("Nothing large to report, but %zu small finding%s: --all shows %s. ",
                              report->nsmall, report->nsmall == 1 ? "" : "s",
                              report->nsmall == 1 ? "it" : "them");
    char *end = must_format("%sLooked at: %s.",
                            report->n        ? ""
                            : report->nsmall ? small
                                             : "Nothing to report. ",
                            list ? list : "nothing");
    paragraph(&page, end, 0, 0);
    free(small);
    unlooked(report, target, print_unlooked, &page);
    free(end);
    free(list);
}

/* ---- rows --------------------------------------------------------------------------------- */

static void say_unlooked(const void *context, const char *text) {
    (void)context;
    say("%s", text);
}

static enum status print_rows(const struct command_line *line, const struct target *target,
                              const struct doctor_report *report, struct failure *failure) {
    const size_t n = sizeof(columns) / sizeof(*columns);
    struct output *output = output_open(&line->output, "doctor", columns, n, failure);
    if (!output)
        return failure->status;
    for (size_t i = 0; i < report->n; i++) {
        const struct doctor_finding *f = &report->findings[i];
        const struct value row[] = {value_text(f->rule->kind),
                                    value_integer(f->bytes),
                                    f->percent > 0 ? value_real(f->percent) : value_null(),
                                    value_text(f->sentence),
                                    value_text(f->advice),
                                    value_text(f->rule->query)};
        if (!output_row(output, row))
            break;
    }
    output_close(output);
    unlooked(report, target, say_unlooked, NULL);
    return STATUS_DONE;
}

/* ---- the verb ----------------------------------------------------------------------------- */

static enum status print(const struct command_line *line, const struct target *target,
                         const struct doctor_report *report, struct failure *failure) {
    const struct output_options *o = &line->output;
    if (o->format == OUTPUT_TABLE && !o->columns && !o->sort)
        print_page(line, target, report);
    else if (print_rows(line, target, report, failure) != STATUS_DONE)
        return failure->status;
    return report->n > 0 ? STATUS_FINDINGS : STATUS_DONE;
}

/* examine_leaks has a live process make a leak check, and adds what comes of it. */
static enum status examine_leaks(const struct command_line *line, struct doctor_report *report,
                                 struct failure *failure) {
    const struct own *own = line->own;
    struct target target;
    enum status status = target_open_asking(line->words[0], NULL, LEAK_SECTIONS, &target, failure);
    if (status != STATUS_DONE)
        return status;
    status = doctor_examine_leaks(&target, own->all, report, failure);
    target_close(&target);
    return status;
}

static enum status examine(const struct command_line *line, const struct target *target,
                           struct failure *failure) {
    const struct own *own = line->own;
    struct doctor_report report;
    if (own->leaks && target->kind != TARGET_PROCESS)
        return fail(failure, STATUS_USAGE,
                    "--leaks has a live process look for leaks; of %s is told what it holds",
                    target->word);
    enum status status = doctor_examine(target, own->all, &report, failure);
    if (status != STATUS_DONE)
        return status;
    if (own->leaks)
        status = examine_leaks(line, &report, failure);
    if (status == STATUS_DONE)
        status = print(line, target, &report, failure);
    doctor_report_free(&report);
    return status;
}

static enum status run(struct command_line *line) {
    struct failure failure = {.status = STATUS_DONE};
    struct target target;
    enum status status =
        target_open_asking(line->words[0], line->snapshot, CLIENT_RESIDENT, &target, &failure);
    if (status == STATUS_DONE) {
        status = examine(line, &target, &failure);
        target_close(&target);
    }
    return status == STATUS_DONE || status == STATUS_FINDINGS ? status : say_failure(&failure);
}

const struct command command_verb_doctor = {
    .name = "doctor",
    .usage = "TARGET",
    .summary = "what is wrong with a heap, in sentences, worst first",
    .details = "Each finding says what takes memory that could come back, how much, which call\n"
               "sites, and what to do.  What is too small to matter is left out.  The exit\n"
               "status is 1 if there are findings.",
    .examples = "  goinspect doctor redis-server\n"
                "  goinspect doctor redis-server --leaks --queries\n"
                "  goinspect doctor heap.gmi -o json | jq -r '.rows[] | .kind'\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
