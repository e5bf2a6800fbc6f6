/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect cache: what each thread's cache (mcache) holds; of one, class by class.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/view.h"

#define COUNT(array)     (sizeof(array) / sizeof(*(array)))
#define PAGE_CACHE_PAGES 64
#define LABEL            14 /* cells of the first column of the heading */

static const struct column columns[] = {
    {"cache", "mcache", KIND_NUMBER, 0, "number of the cache; spans.owner_number refers to it"},
    {"thread", "tid", KIND_NUMBER, 0, "thread that uses it, 0 = none: it has ended"},
    {"name", NULL, KIND_TEXT, COLUMN_CUT, "of the thread"},
    {"spans", NULL, KIND_COUNT, 0, "that it owns"},
    {"free", "free_bytes", KIND_BYTES, 0, "free slots in these"},
    {"hints", NULL, KIND_COUNT, COLUMN_OPTIONAL, "slots freed last, to be used first"},
    {"pages", "page_cache_bytes", KIND_BYTES, COLUMN_OPTIONAL, "free pages in its page cache"},
    {"large", "large_bytes", KIND_BYTES, COLUMN_OPTIONAL, "freed large objects kept for reuse"},
    {"refills", NULL, KIND_COUNT, COLUMN_OPTIONAL, "times that a class had to get another span"},
    {"behind", "cycles_behind", KIND_COUNT, COLUMN_OPTIONAL,
     "sweep cycles since it gave empty spans back"},
    {"state", NULL, KIND_TEXT, COLUMN_EXTRA, "attached, idle, or orphan: lost in a fork"},
    {"current", "current_spans", KIND_COUNT, COLUMN_EXTRA, "spans that it allocates from"},
    {"listed", "listed_spans", KIND_COUNT, COLUMN_EXTRA, "on its lists of spans with free slots"},
    {"held", "held_spans", KIND_COUNT, COLUMN_EXTRA,
     "others: full, or with free slots that only hints or marks tell of"},
    {"kept", "kept_bytes", KIND_BYTES, COLUMN_EXTRA,
     "free slots, page cache, large objects and stacks"},
    {"stacks", NULL, KIND_COUNT, COLUMN_EXTRA, "free stacks kept for reuse"},
    {"stack_bytes", NULL, KIND_BYTES, COLUMN_EXTRA, "their bytes, without guards"},
    {"pending", "pending_spans", KIND_COUNT, COLUMN_EXTRA, "spans with marks by other threads"},
    {"large_spans", NULL, KIND_COUNT, COLUMN_EXTRA, "freed large objects kept for reuse"},
    {"tiny_block", NULL, KIND_TEXT, COLUMN_EXTRA, "address of the tiny block in use"},
    {"tiny_offset", NULL, KIND_BYTES, COLUMN_EXTRA, "bytes of it that are used"},
    {"page_cache", NULL, KIND_TEXT, COLUMN_EXTRA, "address of the 64 pages of its page cache"},
    {"page_cache_free", NULL, KIND_TEXT, COLUMN_EXTRA, "bits, hex: these are free and its own"},
    {"page_cache_scav", NULL, KIND_TEXT, COLUMN_EXTRA, "bits, hex: of these, not backed"},
    {"page_cache_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "free pages in its page cache"},
    {"spans_taken", NULL, KIND_COUNT, COLUMN_EXTRA, "spans taken from the heap"},
    {"spans_given", NULL, KIND_COUNT, COLUMN_EXTRA, "spans given back"},
    {"flush_gen", NULL, KIND_NUMBER, COLUMN_EXTRA, "sweepgen when it gave empty spans back"},
    {"next_sample", NULL, KIND_BYTES, COLUMN_EXTRA, "until the recorder looks at an allocation"},
};

static const struct column class_columns[] = {
    {"class", "size_class", KIND_NUMBER, 0, "size class"},
    {"scan", "CASE noscan WHEN 1 THEN 'noscan' ELSE 'scan' END", KIND_TEXT, COLUMN_OPTIONAL,
     "scan, or noscan: objects hold no pointers"},
    {"size", "slot_bytes", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE, "of a slot"},
    {"current", NULL, KIND_TEXT, 0, "span that it allocates from"},
    {"free", "current_free", KIND_COUNT, 0, "free slots of that"},
    {"slots", "span_slots", KIND_COUNT, COLUMN_OPTIONAL | COLUMN_LATE, "slots of a span"},
    {"hints", NULL, KIND_COUNT, 0, "slots freed last, to be used first, in whichever span"},
    {"listed", "listed_spans", KIND_COUNT, COLUMN_OPTIONAL | COLUMN_LATE,
     "spans on its list of those with free slots"},
    {"held", "held_spans", KIND_COUNT, COLUMN_OPTIONAL | COLUMN_LATE,
     "other spans: full, or with free slots that only hints or marks tell of"},
    {"kept", "free_bytes", KIND_BYTES, 0, "all free slots"},
    {"search", NULL, KIND_NUMBER, COLUMN_OPTIONAL, "slot at which the next search begins"},
    {"listed_free", NULL, KIND_COUNT, COLUMN_EXTRA, "free slots in the listed spans"},
    {"held_free", NULL, KIND_COUNT, COLUMN_EXTRA, "free slots in the other spans"},
    {"hint_capacity", NULL, KIND_COUNT, COLUMN_EXTRA, "hints at most"},
    {"spans", NULL, KIND_COUNT, COLUMN_EXTRA, "current, listed and held"},
    {"free_slots", NULL, KIND_COUNT, COLUMN_EXTRA, "all free slots"},
    {"cache", "mcache", KIND_NUMBER, COLUMN_EXTRA, "number of the cache"},
    {"thread", "tid", KIND_NUMBER, COLUMN_EXTRA, "thread that uses it, 0 = none"},
};

static const struct column_list lists[] = {
    {"Columns of one cache", class_columns, COUNT(class_columns)}, {NULL, NULL, 0}};

/* ---- which one ---------------------------------------------------------------------------- */

/* number_of reads a word of digits, else -1. */
static int64_t number_of(const char *word) {
    size_t digits = strspn(word, "0123456789");
    return digits > 0 && digits < 19 && word[digits] == '\0' ? strtoll(word, NULL, 10) : -1;
}

enum wanted_kind { WANTED_THREAD = 1, WANTED_CACHE, WANTED_NAME };

/* What was asked for. */
struct wanted {
    int64_t number;   /* -1: a name */
    const char *name; /* the same as text */
    unsigned kinds;   /* 1 << enum wanted_kind: what it may be, tried in this order */
};

/* parse_wanted reads "123", "worker", and "thread 123", "cache 4" and "idle cache 4" as other verbs
 * say it. */
static struct wanted parse_wanted(const char *word) {
    static const char *const prefixes[] = {"thread ", "cache ", "idle cache "};
    struct wanted w = {.name = word, .kinds = 1u << WANTED_THREAD | 1u << WANTED_CACHE};
    for (size_t i = 0; i < COUNT(prefixes); i++)
        if (strncmp(word, prefixes[i], strlen(prefixes[i])) == 0) {
            w.name = word + strlen(prefixes[i]);
            w.kinds = i == 0 ? 1u << WANTED_THREAD : 1u << WANTED_CACHE;
        }
    w.number = number_of(w.name);
    if (w.number < 0)
        w.kinds = 1u << WANTED_NAME;
    return w;
}

/* look_up finds the caches that match; returns how many, the last one in *ret, and in *ret_threads
 * a list of their threads, to be freed.  -1 with *failure. */
static int look_up(const struct target *target, const struct wanted *w, enum wanted_kind kind,
                   int64_t *ret, char **ret_threads, struct failure *failure) {
    static const char sql[] =
        "SELECT mcache, tid FROM v1_cache WHERE snapshot_id = :snapshot AND CASE :kind"
        " WHEN 1 THEN tid <> 0 AND tid = :number WHEN 2 THEN mcache = :number"
        " ELSE tid <> 0 AND name = :name END ORDER BY tid";
    struct view_binding b[] = {
        {":kind", kind, NULL}, {":number", w->number, NULL}, {":name", 0, w->name}};
    struct view_query query = {.bindings = b, .nbindings = COUNT(b)};
    sqlite3_stmt *stmt = NULL;
    int n = 0;
    *ret_threads = must_dup("");
    if (view_prepare(target, sql, &query, &stmt, failure) != STATUS_DONE)
        return -1;
    for (; sqlite3_step(stmt) == SQLITE_ROW; n++) {
        char *list = *ret_threads;
        *ret = sqlite3_column_int64(stmt, 0);
        *ret_threads =
            must_format("%s%s%lld", list, n ? ", " : "", (long long)sqlite3_column_int64(stmt, 1));
        free(list);
    }
    sqlite3_finalize(stmt);
    return n;
}

/* find_cache finds the cache of a thread's number or name, or of that number. */
static enum status find_cache(const struct target *target, const char *word, int64_t *ret,
                              struct failure *failure) {
    struct wanted w = parse_wanted(word);
    enum status status = STATUS_DONE;
    int n = 0;
    for (enum wanted_kind kind = WANTED_THREAD; kind <= WANTED_NAME && n == 0; kind++) {
        char *threads = NULL;
        if (!(w.kinds & 1u << kind))
            continue;
        n = look_up(target, &w, kind, ret, &threads, failure);
        if (n > 1)
            status = fail(failure, STATUS_NO_TARGET,
                          "%d threads are called '%s'; choose one: %.600s", n, word, threads);
        free(threads);
    }
    if (n == 0)
        status = fail(failure, STATUS_NO_TARGET,
                      "%s has no thread and no cache '%s'; \"goinspect cache %s\" lists them",
                      target->word, word, target->word);
    return n < 0 ? failure->status : status;
}

/* ---- the heading of one ------------------------------------------------------------------- */

/* Columns of the statement behind the heading. */
enum {
    H_CACHE,
    H_TID,
    H_NAME,
    H_STATE,
    H_SPANS,
    H_FREE,
    H_TINY,
    H_TINY_OFFSET,
    H_PAGES,
    H_PAGE_CACHE,
    H_SCAVENGED,
    H_FREE_BITS,
    H_SCAV_BITS,
    H_LARGE,
    H_LARGE_BYTES,
    H_HINTS,
    H_PENDING,
    H_REFILLS,
    H_TAKEN,
    H_GIVEN,
    H_FLUSH_GEN,
    H_BEHIND,
    H_NEXT_SAMPLE,
    H_STACKS,
    H_STACK_BYTES
};
static const char heading_sql[] =
    "SELECT mcache, tid, name, state, spans, free_bytes, tiny_block, tiny_offset,"
    " page_cache_pages, page_cache, page_cache_scavenged, page_cache_free, page_cache_scav,"
    " large_spans, large_bytes, hints, pending_spans, refills, spans_taken, spans_given,"
    " flush_gen, cycles_behind, next_sample, stacks, stack_bytes FROM v1_cache"
    " WHERE snapshot_id = :snapshot AND mcache = :cache";

static const char *text_of(sqlite3_stmt *stmt, int i) {
    const char *s = (const char *)sqlite3_column_text(stmt, i);
    return s ? s : "";
}

/* bytes_of writes a figure of the row as people read it. */
static const char *bytes_of(char *buf, sqlite3_stmt *stmt, int i) {
    text_bytes_plain(buf, sqlite3_column_double(stmt, i));
    return buf;
}

/* put_count writes "1 span", "3 spans". */
static void put_count(FILE *out, sqlite3_stmt *stmt, int i, const char *what) {
    char count[TEXT_NUMBER_SIZE];
    int64_t n = sqlite3_column_int64(stmt, i);
    text_count(count, n);
    fprintf(out, "%s %s%s", count, what, n == 1 ? "" : "s");
}

static void put_title(FILE *out, sqlite3_stmt *stmt, bool bold) {
    char bytes[TEXT_NUMBER_SIZE];
    const char *raw = text_of(stmt, H_NAME);
    char *name = text_clean(raw, strlen(raw), text_utf8_locale());
    fprintf(out, "%scache %d%s  ", bold ? "\033[1m" : "", sqlite3_column_int(stmt, H_CACHE),
            bold ? "\033[0m" : "");
    if (sqlite3_column_int64(stmt, H_TID))
        fprintf(out, "thread %lld (%s)", (long long)sqlite3_column_int64(stmt, H_TID), name);
    else
        fprintf(out, "%s: its thread has ended", text_of(stmt, H_STATE));
    fputc('\n', out);
    put_count(out, stmt, H_SPANS, "span");
    fprintf(out, ", %s in free slots\n\n", bytes_of(bytes, stmt, H_FREE));
    free(name);
}

/* put_page_cache draws its 64 pages, where there is room for them. */
static void put_page_cache(FILE *out, sqlite3_stmt *stmt, size_t width) {
    uint64_t pages = strtoull(text_of(stmt, H_FREE_BITS), NULL, 16);
    uint64_t scav = strtoull(text_of(stmt, H_SCAV_BITS), NULL, 16);
    fprintf(out, "%-*s", LABEL, "page cache");
    if (!pages) {
        fputs("empty\n", out);
        return;
    }
    fprintf(out, "%d of 64 pages free, %d not backed\n", sqlite3_column_int(stmt, H_PAGES),
            sqlite3_column_int(stmt, H_SCAVENGED));
    fprintf(out, "%-*s", LABEL, text_of(stmt, H_PAGE_CACHE));
    if (width && width < LABEL + PAGE_CACHE_PAGES) {
        fputc('\n', out);
        return;
    }
    for (int i = 0; i < PAGE_CACHE_PAGES; i++)
        fputc(!(pages >> i & 1) ? '-' : scav >> i & 1 ? '_' : '.', out);
    fputc('\n', out);
}

static void put_figures(FILE *out, sqlite3_stmt *stmt) {
    char bytes[TEXT_NUMBER_SIZE];
    fprintf(out, "%-*s", LABEL, "large objects");
    put_count(out, stmt, H_LARGE, "span");
    fprintf(out, " kept, %s\n%-*s", bytes_of(bytes, stmt, H_LARGE_BYTES), LABEL, "stacks");
    put_count(out, stmt, H_STACKS, "free stack");
    fprintf(out, " kept, %s\n%-*s", bytes_of(bytes, stmt, H_STACK_BYTES), LABEL, "hints");
    put_count(out, stmt, H_HINTS, "slot");
    fprintf(out, " freed last, used first\n%-*s", LABEL, "marks");
    put_count(out, stmt, H_PENDING, "span");
    fprintf(out, " others freed into\n%-*s", LABEL, "refills");
    text_count(bytes, sqlite3_column_int64(stmt, H_REFILLS));
    fprintf(out, "%s; ", bytes);
    put_count(out, stmt, H_TAKEN, "new span");
    fprintf(out, ", %lld given back\n", (long long)sqlite3_column_int64(stmt, H_GIVEN));
    fprintf(out, "%-*sat sweep generation %s, ", LABEL, "flushed", text_of(stmt, H_FLUSH_GEN));
    put_count(out, stmt, H_BEHIND, "cycle");
    fputs(" ago\n", out);
    if (sqlite3_column_type(stmt, H_NEXT_SAMPLE) != SQLITE_NULL)
        fprintf(out, "%-*sin %s\n", LABEL, "next sample", bytes_of(bytes, stmt, H_NEXT_SAMPLE));
    fputc('\n', out);
}

static enum status print_heading(const struct command_line *line, const struct target *target,
                                 int64_t cache, struct failure *failure) {
    struct view_binding binding = {":cache", cache, NULL};
    struct view_query query = {.bindings = &binding, .nbindings = 1};
    FILE *out = line->output.out;
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, heading_sql, &query, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        put_title(out, stmt, output_has_color(&line->output));
        fprintf(out, "%-*s", LABEL, "tiny block");
        if (sqlite3_column_type(stmt, H_TINY) == SQLITE_NULL)
            fputs("none\n", out);
        else
            fprintf(out, "%s, %d of 16 bytes used\n", text_of(stmt, H_TINY),
                    sqlite3_column_int(stmt, H_TINY_OFFSET));
        put_page_cache(out, stmt, output_width(&line->output));
        put_figures(out, stmt);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* ---- the verb ----------------------------------------------------------------------------- */

static enum status show_one(const struct command_line *line, const struct target *target,
                            const char *word, struct failure *failure) {
    int64_t cache = 0;
    enum status status = find_cache(target, word, &cache, failure);
    if (status == STATUS_DONE && line->output.format == OUTPUT_TABLE && !line->output.no_header &&
        !line->output.columns)
        status = print_heading(line, target, cache, failure);
    if (status != STATUS_DONE)
        return status;
    struct view_binding binding = {":cache", cache, NULL};
    struct view_query query = {.from = "v1_cache_class",
                               .where = "mcache = :cache",
                               .order = "size_class, noscan",
                               .bindings = &binding,
                               .nbindings = 1};
    return view_show_as(line, target, &lists[0], 0, &query, failure);
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    static const struct view_query query = {.from = "v1_cache", .order = "mcache"};
    enum status status = view_structures(target, failure);
    if (status != STATUS_DONE)
        return status;
    if (line->words[1])
        return show_one(line, target, line->words[1], failure);
    return view_show(line, target, &query, failure);
}

static enum status run(struct command_line *line) {
    return view_on_target(line, show);
}

const struct command command_verb_cache = {
    .name = "cache",
    .usage = "TARGET [THREAD]",
    .summary = "threads' caches: spans, free slots, pages and large objects in each",
    .details = "THREAD is the number or the name of a thread, or the number of a cache.  Without\n"
               "it: a row for each cache, idle ones included, whose thread has ended.",
    .examples = "  goinspect cache redis-server\n"
                "  goinspect cache redis-server bio_close_file\n"
                "  goinspect cache heap.gmi 0 --sort kept:desc --limit 5\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 2,
    .terminal_rows = 25,
    .columns = columns,
    .ncolumns = COUNT(columns),
    .lists = lists,
    .run = run,
};
