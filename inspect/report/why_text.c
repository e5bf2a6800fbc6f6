/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why an object lives, for people.
 *
 *      0xc00009a1d0: reachable, 40 B, 12m 5s old, from set (cache.c:31)
 *
 *      The shortest chain that leads there from a variable:
 *        cache+0x8 (server .bss)
 *          0xc000012000 +0x10  1.0 KiB  3h 2m   grow (cache.c:77)
 *          0xc00009a1d0           40 B  12m 5s  set (cache.c:31)
 *
 *      2 words point to it:
 *        1 in an object of 1.0 KiB from grow (cache.c:77): 0xc000012000+0x10
 *        1 on the stack of ...
 *
 * In a chain, like follows like mostly: a list of a million nodes is three lines.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/wrap.h"
#include "cli/view.h"
#include "report/why.h"
#include "report/why_text.h"

#define MOST_ENDS 20 /* lines of a chain that are printed from each end; -o json has all */
#define RUN       4  /* steps alike, from so many on, are told by the first and the last */

/* A row. */
struct item {
    char role; /* its first letter */
    char *kind, *text;
    char *callers;                                          /* of the object asked for, else "" */
    int64_t step, words, address, at, size, requested, age; /* -1: NULL; age: s */
    int64_t site;
    bool leaked;
};

struct items {
    struct item *all;
    size_t n;
};

static const char columns[] =
    "SELECT role, kind, step, words, leaked, address, at, size, requested, age_s, site_id,"
    " coalesce(place, CASE WHEN file IS NULL THEN function"
    " ELSE function || ' (' || location || ')' END),"
    " CASE role WHEN 'object' THEN " VIEW_CALLERS " END FROM %s ORDER BY ord";
enum { ROLE, KIND, STEP, WORDS, LEAKED, ADDRESS, AT, SIZE, REQUESTED, AGE, SITE, TEXT, CALLERS };

static char *clean(sqlite3_stmt *stmt, int column) {
    const char *s = (const char *)sqlite3_column_text(stmt, column);
    return text_clean(s ? s : "", s ? strlen(s) : 0, text_utf8_locale());
}

static int64_t number(sqlite3_stmt *stmt, int column) {
    return sqlite3_column_type(stmt, column) == SQLITE_NULL ? -1
                                                            : sqlite3_column_int64(stmt, column);
}

static struct item item_of(sqlite3_stmt *stmt) {
    return (struct item){.role = (char)sqlite3_column_text(stmt, ROLE)[0],
                         .kind = clean(stmt, KIND),
                         .text = clean(stmt, TEXT),
                         .callers = clean(stmt, CALLERS),
                         .step = number(stmt, STEP),
                         .words = number(stmt, WORDS),
                         .address = number(stmt, ADDRESS),
                         .at = number(stmt, AT),
                         .size = number(stmt, SIZE),
                         .requested = number(stmt, REQUESTED),
                         .age = number(stmt, AGE),
                         .site = number(stmt, SITE),
                         .leaked = number(stmt, LEAKED) == 1};
}

static enum status read_items(const struct target *target, const char *source, struct items *ret,
                              struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    int step = SQLITE_DONE;
    char *sql = must_format(columns, source);
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    while (status == STATUS_DONE && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        ret->all = must_realloc(ret->all, ret->n + 1, sizeof(*ret->all));
        ret->all[ret->n++] = item_of(stmt);
    }
    if (status == STATUS_DONE && step != SQLITE_DONE)
        status = fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    sqlite3_finalize(stmt);
    free(sql);
    return status;
}

static void free_items(struct items *items) {
    for (size_t i = 0; i < items->n; i++) {
        free(items->all[i].kind);
        free(items->all[i].text);
        free(items->all[i].callers);
    }
    free(items->all);
}

/* ---- the pieces of a line ------------------------------------------------------------------ */

#define LEAST_TEXT 36 /* cells: a text that has less behind what stands in its line gets others */

/* put_text ends a line with a text; `used` cells are taken. */
static void put_text(const struct command_line *line, const char *text, size_t used) {
    FILE *out = line->output.out;
    size_t width = output_width(&line->output);
    if (!width || used + text_width(text) <= width) {
        fprintf(out, "%s\n", text);
    } else if (used + LEAST_TEXT <= width) {
        wrap_rest(out, text, width, used);
    } else {
        fputc('\n', out);
        wrap_print(out, text, width, 8, 10);
    }
}

static void bytes_text(const struct command_line *line, char *buf, int64_t bytes) {
    if (line->output.raw_bytes)
        snprintf(buf, TEXT_NUMBER_SIZE, "%lld", (long long)bytes);
    else
        text_bytes_plain(buf, (double)bytes);
}

/* bytes_of returns the bytes asked for, or if that is not known given. */
static int64_t bytes_of(const struct item *i) {
    return i->requested >= 0 ? i->requested : i->size;
}

static void age_text(char *buf, int64_t seconds) {
    if (seconds < 1)
        strcpy(buf, seconds < 0 ? "-" : "<1s");
    else
        text_duration(buf, seconds * 1000000000);
}

/* ---- the object ---------------------------------------------------------------------------- */

static const char *verdict(const struct item *o) {
    if (o->leaked)
        return "leaked: nothing leads to it";
    return strcmp(o->kind, "ignored") == 0 ? "ignored by the program, which nothing else leads to"
                                           : o->kind;
}

static void write_object(const struct command_line *line, const struct item *o, bool tiny,
                         FILE *out) {
    char size[TEXT_NUMBER_SIZE], age[TEXT_NUMBER_SIZE];
    bool bold = output_has_color(&line->output);
    bool asked = o->requested >= 0 && !tiny; /* of a block, the last one's are known */
    bytes_text(line, size, asked ? o->requested : o->size);
    if (o->at > 0)
        fprintf(out, "0x%llx lies %lld bytes within an object%s.\n",
                (unsigned long long)o->address + (unsigned long long)o->at, (long long)o->at,
                asked && o->at >= o->requested ? ", behind the bytes asked for" : "");
    fprintf(out, "0x%llx: %s%s%s, %s", (unsigned long long)o->address, bold ? "\033[1m" : "",
            verdict(o), bold ? "\033[0m" : "", size);
    if (tiny)
        fputs(", a block of objects under 16 bytes", out);
    age_text(age, o->age);
    if (o->site == 0) {
        fputs("; its allocation was not recorded\n", out);
        return;
    }
    fprintf(out, ", %s old, from %s\n", o->age < 0 ? "?" : age, o->text);
}

static void print_object(const struct command_line *line, const struct item *o, bool tiny) {
    struct output_prose prose;
    write_object(line, o, tiny, output_prose(&prose));
    output_prose_end(&line->output, &prose);
    if (o->site != 0 && o->callers[0]) {
        fputs("  called by ", line->output.out);
        put_text(line, o->callers, strlen("  called by "));
    }
}

/* ---- the chain ----------------------------------------------------------------------------- */

static bool alike(const struct item *a, const struct item *b) {
    return a->site == b->site && a->size == b->size && a->at == b->at && a->at >= 0 &&
           strcmp(a->text, b->text) == 0;
}

/* run_end returns the index behind the steps that are like the first. */
static size_t run_end(const struct items *items, size_t first) {
    size_t i = first + 1;
    while (i < items->n && items->all[i].role == 'c' && alike(&items->all[first], &items->all[i]))
        i++;
    return i;
}

struct widths {
    size_t address, size, age; /* cells; address: with the offset */
};

static void address_text(char *buf, size_t size, const struct item *i) {
    if (i->at >= 0)
        snprintf(buf, size, "0x%llx +0x%llx", (unsigned long long)i->address,
                 (unsigned long long)i->at);
    else
        snprintf(buf, size, "0x%llx", (unsigned long long)i->address);
}

static void widen(const struct command_line *line, struct widths *w, const struct item *i) {
    char buf[2 * TEXT_NUMBER_SIZE];
    address_text(buf, sizeof(buf), i);
    w->address = strlen(buf) > w->address ? strlen(buf) : w->address;
    bytes_text(line, buf, bytes_of(i));
    w->size = strlen(buf) > w->size ? strlen(buf) : w->size;
    age_text(buf, i->age);
    w->age = strlen(buf) > w->age ? strlen(buf) : w->age;
}

static void print_step(const struct command_line *line, const struct widths *w,
                       const struct item *i) {
    char address[2 * TEXT_NUMBER_SIZE], size[TEXT_NUMBER_SIZE], age[TEXT_NUMBER_SIZE];
    if (i->size < 0) { /* the root */
        fputs("  ", line->output.out);
        put_text(line, i->text, 2);
        return;
    }
    address_text(address, sizeof(address), i);
    bytes_text(line, size, bytes_of(i));
    age_text(age, i->age);
    fprintf(line->output.out, "    %-*s  %*s  %*s  ", (int)w->address, address, (int)w->size, size,
            (int)w->age, age);
    put_text(line, i->text, 4 + w->address + 2 + w->size + 2 + w->age + 2);
}

/* print_more tells of steps that are left out between two. */
static void print_more(const struct command_line *line, int64_t n, bool like) {
    char text[TEXT_NUMBER_SIZE];
    text_count(text, n);
    fprintf(line->output.out, "    ... %s more%s\n", text, like ? " like it" : "");
}

/* print_run prints step i, or, if more like it follow, it and the last of these; returns the index
 * behind. */
static size_t print_run(const struct command_line *line, const struct items *items,
                        const struct widths *w, size_t i) {
    const struct item *all = items->all;
    size_t end = run_end(items, i);
    int64_t n = all[end - 1].step - all[i].step + 1;
    print_step(line, w, &all[i]);
    if (n < RUN)
        return i + 1;
    print_more(line, n - 2, true);
    print_step(line, w, &all[end - 1]);
    return end;
}

/* print_steps prints the steps from first to before last. */
static void print_steps(const struct command_line *line, const struct items *items,
                        const struct widths *w, size_t first, size_t last) {
    const struct item *all = items->all;
    int64_t next = all[first].step;
    unsigned lines = 0;
    for (size_t i = first; i < last; lines++) {
        if (lines == MOST_ENDS && last - i > MOST_ENDS)
            i = last - MOST_ENDS;
        if (all[i].step != next)
            print_more(line, all[i].step - next, false);
        i = print_run(line, items, w, i);
        next = all[i - 1].step + 1;
    }
}

static void print_intro(const struct command_line *line, const struct item *first, bool leaked) {
    static const char *const intros[][2] = {
        {"data", "The shortest chain that leads there from a variable:"},
        {"thread-local", "The shortest chain that leads there from a variable:"},
        {"named by the program", "The shortest chain that leads there from named memory:"},
        {"stack", "No variable leads there; the shortest chain from a stack or register:"},
        {"register", "No variable leads there; the shortest chain from a stack or register:"},
        {"mapped memory", "Only memory that the program has mapped itself leads there (who points "
                          "to that is not known):"},
    };
    const char *text = "What the program ignores (gomalloc_ignore) leads there:";
    for (size_t i = 0; i < sizeof(intros) / sizeof(*intros); i++)
        if (strcmp(first->kind, intros[i][0]) == 0)
            text = intros[i][1];
    output_text(&line->output, "\n%s\n",
                leaked ? "It was lost with the first of these, which leads to it:" : text);
}

static void print_chain(const struct command_line *line, const struct items *items) {
    struct widths w = {0, 0, 0};
    size_t first = 1, last;
    for (last = first; last < items->n && items->all[last].role == 'c'; last++)
        if (items->all[last].size >= 0)
            widen(line, &w, &items->all[last]);
    if (last == first || (items->all[0].leaked && last == first + 1))
        return; /* none, or the object alone */
    print_intro(line, &items->all[first], items->all[0].leaked);
    print_steps(line, items, &w, first, last);
}

/* ---- who points to it ---------------------------------------------------------------------- */

static void print_referrer(const struct command_line *line, const struct item *i, int width) {
    char words[TEXT_NUMBER_SIZE], size[TEXT_NUMBER_SIZE], address[2 * TEXT_NUMBER_SIZE];
    text_count(words, i->words);
    size_t used = (size_t)fprintf(line->output.out, "  %*s in ", width, words);
    char *text;
    if (i->size < 0) {
        text = must_dup(i->text);
    } else {
        bytes_text(line, size, bytes_of(i));
        address_text(address, sizeof(address), i);
        const char *one = i->words > 1 ? "" : i->leaked ? "a " : "an ";
        text = must_format("%s%sobject%s of %s from %s: %s%s", one, i->leaked ? "leaked " : "",
                           i->words == 1 ? "" : "s", size, i->text, i->words == 1 ? "" : "first ",
                           address);
    }
    put_text(line, text, used);
    free(text);
}

static void print_referrers(const struct command_line *line, const struct items *items) {
    char words[TEXT_NUMBER_SIZE];
    int64_t total = items->all[0].words, told = 0;
    text_count(words, total);
    int width = (int)strlen(words);
    fprintf(line->output.out, "\n%s %s it%s\n", total ? words : "No word",
            total > 1 ? "words point to"
            : total   ? "word points to"
                      : "points to",
            total ? ":" : ".");
    for (size_t i = 1; i < items->n; i++)
        if (items->all[i].role == 'r') {
            print_referrer(line, &items->all[i], width);
            told += items->all[i].words;
        }
    text_count(words, total - told);
    if (told < total)
        fprintf(line->output.out, "  %*s elsewhere\n", width, words);
}

enum status why_print(const struct command_line *line, const struct target *target,
                      const char *source, struct failure *failure) {
    struct items items = {NULL, 0};
    enum status status = read_items(target, source, &items, failure);
    if (status == STATUS_DONE && !items.all) {
        status = fail(failure, STATUS_FAILURE, "%s: there is no answer", target->word);
    } else if (status == STATUS_DONE) {
        const struct gomalloc_why *y = why_answer(target);
        print_object(line, &items.all[0], y && (y->flags & GOMALLOC_WHY_TINY));
        print_chain(line, &items);
        print_referrers(line, &items);
    }
    free_items(&items);
    return status;
}
