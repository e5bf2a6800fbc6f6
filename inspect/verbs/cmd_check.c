/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect check: a heap against limits, for scripts that build and test.
 *
 * The limits are those of check.h, from the command line or a baseline (baseline.h); what they came
 * to is a list for people, rows, or JUnit XML.
 */
#include <stdlib.h>
#include <string.h>

#include "report/baseline.h"
#include "report/check.h"
#include "target/client.h"
#include "report/junit.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/wrap.h"
#include "base/usage.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct column columns[] = {
    {"check", NULL, KIND_TEXT, 0, "max-leaks, max-growth, ..."},
    {"result", NULL, KIND_TEXT, 0, "ok, or exceeded"},
    {"value", NULL, KIND_ANY, 0, "what there is"},
    {"limit", NULL, KIND_ANY, 0, "what there may be"},
    {"unit", NULL, KIND_TEXT, 0, "of both: objects, bytes or percent"},
    {"message", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE, "in a sentence"},
    {"details", NULL, KIND_TEXT, COLUMN_EXTRA, "what contributes most to it, a line each"},
    {"next", NULL, KIND_TEXT, COLUMN_EXTRA, "a command that shows more"},
};

struct own {
    struct limit limits[NCHECKS];
    const char *baseline, *write_baseline, *junit;
    struct suppress_files suppressions;
    bool junit_lost;      /* it could not be written */
    char *words[NCHECKS]; /* limits from the baseline, to be freed */
};

enum { OPT_LIMIT = 0x300, OPT_BASELINE = 0x320, OPT_WRITE, OPT_SUPPRESSIONS, OPT_JUNIT };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Limits:", 1},
    {"max-leaks", OPT_LIMIT + CHECK_LEAKS, "LIMIT", 0,
     "leaked objects, direct and indirect: 0, 10, 4KiB", 1},
    {"max-growth", OPT_LIMIT + CHECK_GROWTH, "LIMIT", 0,
     "live bytes beyond the baseline's: 5%, 64MiB; or 1000objects", 1},
    {"max-site-growth", OPT_LIMIT + CHECK_SITE_GROWTH, "LIMIT", 0,
     "the same of each call site; % is of all that is live in the baseline", 1},
    {"max-frag", OPT_LIMIT + CHECK_FRAG, "LIMIT", 0,
     "memory of the heap that is given to nobody: 30%, 512MiB", 1},
    {"max-live", OPT_LIMIT + CHECK_LIVE, "LIMIT", 0, "live bytes: 2GiB; or 1000objects", 1},
    {"max-rss", OPT_LIMIT + CHECK_RSS, "LIMIT", 0, "resident set of the process: 4GiB", 1},
    {NULL, 0, NULL, 0, "What they are held against:", 2},
    {"baseline", OPT_BASELINE, "FILE", 0,
     "what growth is compared with: a .gmi, a .db (FILE.db@N), or what --write-baseline made", 2},
    {"write-baseline", OPT_WRITE, "FILE", 0,
     "check nothing; keep what there is, and the limits given, as a baseline", 2},
    {"suppressions", OPT_SUPPRESSIONS, "FILE", 0, "leaks that are accepted: lines of leak:PATTERN",
     2},
    {"junit", OPT_JUNIT, "FILE", 0, "write the results as JUnit XML, too", 2},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    char error[160];
    if (key >= OPT_LIMIT && key < OPT_LIMIT + NCHECKS) {
        const struct check_kind *kind = &check_kinds[key - OPT_LIMIT];
        if (!limit_parse(arg, kind->allowed, kind->plain, &own->limits[key - OPT_LIMIT], error,
                         sizeof(error)))
            usage_error(state, "--%s: %s", kind->name, error);
    } else if (key == OPT_BASELINE) {
        own->baseline = arg;
    } else if (key == OPT_WRITE) {
        own->write_baseline = arg;
    } else if (key == OPT_SUPPRESSIONS) {
        if (!suppress_name(&own->suppressions, arg))
            usage_error(state, "at most %d --suppressions", SUPPRESS_FILES);
    } else if (key == OPT_JUNIT) {
        own->junit = arg;
    }
}

/* ---- results ------------------------------------------------------------------------------ */

#define INDENT 6 /* of what belongs to a result */

/* print_line writes a line that may hold anything, wrapped on a terminal; the first of it behind a
 * prefix of INDENT cells, or blanks. */
static void print_line(const struct command_line *line, const char *text, size_t n) {
    char *clean = text_clean(text, n, text_utf8_locale());
    size_t width = output_width(&line->output);
    wrap_print(line->output.out, clean, width ? width : SIZE_MAX, INDENT, INDENT + 2);
    free(clean);
}

static void print_lines(const struct command_line *line, const char *lines) {
    while (lines && *lines) {
        size_t n = strcspn(lines, "\n");
        print_line(line, lines, n);
        lines += n + (lines[n] == '\n');
    }
}

/* print_result writes "FAIL  max-leaks 0" and what there is; if that is too much, what to do. */
static void print_result(const struct command_line *line, const struct check_result *r) {
    bool color = output_has_color(&line->output);
    const char *mark = r->exceeded ? "\033[1;31m" : "\033[32m";
    fprintf(line->output.out, "%s%s%s  %s %s\n", color ? mark : "", r->exceeded ? "FAIL" : "ok  ",
            color ? "\033[0m" : "", check_kinds[r->id].name, r->limit.word);
    print_line(line, r->message, strlen(r->message));
    if (!r->exceeded)
        return;
    print_lines(line, r->details);
    char *next = must_format("next: %s", r->next);
    print_lines(line, next);
    free(next);
}

static enum status show_rows(const struct command_line *line, const struct check_result *results,
                             size_t n, struct failure *failure) {
    struct output *output = output_open(&line->output, "check", columns, COUNT(columns), failure);
    if (!output)
        return failure->status;
    for (size_t i = 0; i < n; i++) {
        const struct check_result *r = &results[i];
        bool percent = r->limit.unit == LIMIT_PERCENT;
        const struct value values[] = {
            value_text(check_kinds[r->id].name),
            value_text(r->exceeded ? "exceeded" : "ok"),
            percent ? value_real(r->value) : value_integer((int64_t)r->value),
            percent ? value_real(r->limit.most) : value_integer((int64_t)r->limit.most),
            value_text(limit_unit_name(r->limit.unit)),
            value_text(r->message),
            value_text(r->details),
            value_text(r->next)};
        output_row(output, values);
    }
    output_close(output);
    return STATUS_DONE;
}

static enum status show(const struct command_line *line, const struct target *target,
                        const struct check_result *results, size_t n, struct failure *failure) {
    if (line->output.format != OUTPUT_TABLE || line->output.columns)
        return show_rows(line, results, n, failure);
    for (size_t i = 0; i < n; i++)
        print_result(line, &results[i]);
    if (((const struct own *)line->own)->limits[CHECK_LEAKS].word && line->output.watch <= 0)
        leakcheck_say_cost(target);
    return STATUS_DONE;
}

/* ---- JUnit -------------------------------------------------------------------------------- */

static enum status write_junit(const struct command_line *line, const struct junit_case *cases,
                               size_t n, struct failure *failure) {
    struct own *own = line->own;
    char *suite = must_format("goinspect check %s", line->words[0]);
    int error = junit_write(own->junit, suite, cases, n);
    own->junit_lost = error != 0;
    free(suite);
    return error ? fail(failure, status_of_error(error),
                        "%s: cannot write: %s; nothing was changed", own->junit, strerror(-error))
                 : STATUS_DONE;
}

static enum status junit_results(const struct command_line *line,
                                 const struct check_result *results, size_t n,
                                 struct failure *failure) {
    struct junit_case cases[NCHECKS];
    char *names[NCHECKS], *texts[NCHECKS];
    for (size_t i = 0; i < n; i++) {
        const struct check_result *r = &results[i];
        names[i] = must_format("%s %s", check_kinds[r->id].name, r->limit.word);
        texts[i] = must_format("%s\n%s%snext: %s", r->message, r->details ? r->details : "",
                               r->details ? "\n" : "", r->next);
        cases[i] = (struct junit_case){names[i], r->exceeded ? JUNIT_FAILED : JUNIT_PASSED,
                                       r->message, texts[i]};
    }
    enum status status = write_junit(line, cases, n, failure);
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
        free(texts[i]);
    }
    return status;
}

/* junit_failure says of each limit that it could not be checked. */
static void junit_failure(const struct command_line *line, const struct failure *why) {
    const struct own *own = line->own;
    struct junit_case cases[NCHECKS];
    char *names[NCHECKS];
    struct failure failure;
    size_t n = 0;
    for (int i = 0; i < NCHECKS; i++)
        if (own->limits[i].word) {
            names[n] = must_format("%s %s", check_kinds[i].name, own->limits[i].word);
            cases[n] = (struct junit_case){names[n], JUNIT_ERROR, why->text, NULL};
            n++;
        }
    if (write_junit(line, cases, n, &failure) != STATUS_DONE)
        say_failure(&failure);
    while (n > 0)
        free(names[--n]);
}

/* ---- what is compared --------------------------------------------------------------------- */

/* Everything a process has, and with CLIENT_LEAKS a leak check, for which it pauses. */
static uint64_t sections(const struct own *own) {
    uint64_t all = CLIENT_RESIDENT & ~(UINT64_C(1) << GOMALLOC_SECTION_RESIDENT);
    return own->limits[CHECK_LEAKS].word ? all | CLIENT_LEAKS : all;
}

/* check_with_diff runs the checks, d being the comparison with a baseline, or NULL. */
static enum status check_with_diff(const struct command_line *line, const struct target *target,
                                   const struct diff *d, struct failure *failure) {
    const struct own *own = line->own;
    struct suppressions accepted = {NULL, 0};
    struct leak_filter filter = {.accepted = &accepted};
    struct check check = {.target = target,
                          .limits = own->limits,
                          .filter = &filter,
                          .diff = d,
                          .baseline = own->baseline};
    struct check_result results[NCHECKS];
    size_t n = 0;
    enum status status = STATUS_DONE;
    status = suppress_read(&own->suppressions, &accepted, failure);
    if (status == STATUS_DONE && own->limits[CHECK_LEAKS].word)
        status = leakcheck_there(target, failure);
    if (status == STATUS_DONE && own->limits[CHECK_LEAKS].word)
        status = leakcheck_filter(target, &filter, failure);
    if (status == STATUS_DONE)
        status = check_run(&check, results, &n, failure);
    if (status == STATUS_DONE)
        status = show(line, target, results, n, failure);
    if (status == STATUS_DONE && own->junit)
        status = junit_results(line, results, n, failure);
    if (status == STATUS_DONE && n && results[0].exceeded)
        status = STATUS_FINDINGS;
    check_free(results, n);
    free(filter.sites);
    suppress_free(&accepted);
    return status;
}

/* compare_text is for a baseline that is a text, compare_target for any other. */
static enum status compare_text(const struct command_line *line, const struct target *target,
                                const struct baseline *b, struct failure *failure) {
    struct diff d;
    enum status status = diff_open(DIFF_BY_FUNCTION, &d, failure);
    if (status != STATUS_DONE)
        return status;
    status = baseline_load(b, &d, failure);
    if (status == STATUS_DONE)
        status = diff_add(&d, DIFF_B, target, failure);
    if (status == STATUS_DONE)
        status = diff_name(&d, failure);
    if (status == STATUS_DONE)
        status = check_with_diff(line, target, &d, failure);
    diff_close(&d);
    return status;
}

static enum status compare_target(const struct command_line *line, const struct target *target,
                                  struct failure *failure) {
    const struct own *own = line->own;
    struct target before;
    struct diff d;
    enum status status = target_open(own->baseline, NULL, &before, failure);
    if (status != STATUS_DONE) {
        char *why = must_dup(failure->text);
        fail(failure, status,
             "--baseline: %s; a .gmi, a .db or what --write-baseline made is wanted", why);
        free(why);
        return status;
    }
    status = diff_open(diff_builds_differ(&before, target) ? DIFF_BY_FUNCTION : DIFF_BY_STACK, &d,
                       failure);
    if (status == STATUS_DONE) {
        status = diff_add(&d, DIFF_A, &before, failure);
        if (status == STATUS_DONE)
            status = diff_add(&d, DIFF_B, target, failure);
        if (status == STATUS_DONE)
            status = diff_name(&d, failure);
        if (status == STATUS_DONE)
            status = check_with_diff(line, target, &d, failure);
        diff_close(&d);
    }
    target_close(&before);
    return status;
}

static enum status keep_baseline(const struct own *own, const struct target *target,
                                 struct failure *failure) {
    struct baseline_limit limits[NCHECKS];
    struct diff d;
    enum status status = diff_open(DIFF_BY_FUNCTION, &d, failure);
    for (int i = 0; i < NCHECKS; i++)
        limits[i] = (struct baseline_limit){check_kinds[i].name, own->limits[i].word};
    if (status != STATUS_DONE)
        return status;
    status = diff_add(&d, DIFF_B, target, failure);
    if (status == STATUS_DONE)
        status = baseline_write(own->write_baseline, &d, limits, NCHECKS, failure);
    diff_close(&d);
    if (status == STATUS_DONE)
        say("%s: written, and nothing checked; next: goinspect check TARGET --baseline %s%s",
            own->write_baseline, own->write_baseline,
            own->limits[CHECK_GROWTH].word ? "" : " --max-growth 5%");
    return status;
}

/* ---- the verb ----------------------------------------------------------------------------- */

/* limits_of_baseline takes from the baseline what the command line does not say. */
static enum status limits_of_baseline(struct own *own, const struct baseline *b,
                                      struct failure *failure) {
    char error[160];
    for (int i = 0; i < NCHECKS; i++) {
        const struct check_kind *kind = &check_kinds[i];
        if (own->limits[i].word || !(own->words[i] = baseline_word(b, kind->name)))
            continue;
        if (!limit_parse(own->words[i], kind->allowed, kind->plain, &own->limits[i], error,
                         sizeof(error)))
            return fail(failure, STATUS_FAILURE, "%s: %s: %s", b->path, kind->name, error);
    }
    return STATUS_DONE;
}

/* complete says what is missing on the command line. */
static enum status complete(const struct own *own, struct failure *failure) {
    bool any = false;
    for (int i = 0; i < NCHECKS; i++) {
        any = any || own->limits[i].word;
        if (own->limits[i].word && check_kinds[i].wants_baseline && !own->baseline)
            return fail(failure, STATUS_USAGE,
                        "--%s compares with a baseline: name one with --baseline FILE (a .gmi, a "
                        ".db, or what --write-baseline made)",
                        check_kinds[i].name);
    }
    if (any)
        return STATUS_DONE;
    return fail(failure, STATUS_USAGE,
                "there is no limit to check: name one, such as --max-leaks 0%s",
                own->baseline ? " or --max-growth 5%" : "");
}

static enum status open_and_check(const struct command_line *line, const struct baseline *b,
                                  struct failure *failure) {
    const struct own *own = line->own;
    struct target target;
    enum status status =
        target_open_asking(line->words[0], line->snapshot, sections(own), &target, failure);
    if (status != STATUS_DONE)
        return status;
    if (own->write_baseline)
        status = keep_baseline(own, &target, failure);
    else if (b->text)
        status = compare_text(line, &target, b, failure);
    else if (own->baseline)
        status = compare_target(line, &target, failure);
    else
        status = check_with_diff(line, &target, NULL, failure);
    target_close(&target);
    return status;
}

static enum status run(struct command_line *line) {
    struct own *own = line->own;
    struct failure failure = {.status = STATUS_DONE};
    struct baseline b = {NULL, NULL};
    enum status status = STATUS_DONE;
    if (own->write_baseline && (own->baseline || own->junit)) {
        say("--write-baseline checks nothing, and goes with neither --baseline nor --junit");
        return STATUS_USAGE;
    }
    if (own->baseline && baseline_is(own->baseline))
        status = baseline_read(own->baseline, &b, &failure);
    if (status == STATUS_DONE && b.text)
        status = limits_of_baseline(own, &b, &failure);
    if (status == STATUS_DONE && !own->write_baseline)
        status = complete(own, &failure);
    if (status == STATUS_DONE)
        status = open_and_check(line, &b, &failure);
    if (status > STATUS_FINDINGS && status != STATUS_USAGE && own->junit && !own->junit_lost)
        junit_failure(line, &failure);
    baseline_free(&b);
    for (int i = 0; i < NCHECKS; i++) {
        if (own->words[i])
            own->limits[i].word = NULL;
        free(own->words[i]);
        own->words[i] = NULL;
    }
    return status <= STATUS_FINDINGS ? status : say_failure(&failure);
}

const struct command command_verb_check = {
    .name = "check",
    .usage = "TARGET",
    .summary = "a heap against limits, for scripts: exit status 1 if one is exceeded",
    .details =
        "A limit is a number of objects (10, 10objects), of bytes (64KiB, 2GiB), or a share\n"
        "(5%).  The exit status is 0 if all hold, 1 if one is exceeded, and 2 or more if that\n"
        "could not be found out.  A process pauses only for --max-leaks.",
    .examples =
        "  GOMALLOC=rate=1,exit=a.gmi,leaks=on goinspect run -- ./tests\n"
        "  goinspect check a.gmi --max-leaks 0 --junit out.xml\n"
        "  goinspect check a.gmi --max-growth 5% --max-frag 30% --write-baseline heap.json\n"
        "  goinspect check b.gmi --baseline heap.json\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = COUNT(columns),
    .run = run,
};
