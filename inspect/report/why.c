/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The answer to why an object lives, as rows.
 *
 * What a root is can be said only here, where files are read: so the records become a list of
 * values in the query itself, which is then joined with the names of sites like any other.
 */
#include <stdlib.h>
#include <string.h>

#include "gomalloc/image.h"
#include "names/symbol.h"
#include "base/text.h"
#include "report/variable.h"
#include "report/why.h"

/* What rows are made of. */
struct making {
    const struct image *im;
    struct variables *variables;
    struct symbolizer *symbolizer;
    sqlite3_str *sql;
    int nrows;
};

const struct gomalloc_why *why_answer(const struct target *target) {
    size_t n;
    const struct gomalloc_why *y =
        target->image ? image_section(target->image, GOMALLOC_SECTION_WHY, &n) : NULL;
    return y && n ? y : NULL;
}

/* ---- roots, in words ----------------------------------------------------------------------- */

static char *thread_text(const struct gomalloc_holder *h) {
    if (h->tid == 0)
        return must_dup("a thread");
    char comm[sizeof(h->comm) + 1] = "";
    memcpy(comm, h->comm, sizeof(h->comm));
    return comm[0] ? must_format("thread %u (%s)", h->tid, comm) : must_format("thread %u", h->tid);
}

/* function_at returns the name of the function that the code at pc is in; NULL: not known. */
static const char *function_at(struct making *m, uint64_t pc) {
    const struct symbol_frame *frames;
    size_t n;
    if (!m->symbolizer)
        m->symbolizer = symbolizer_new(m->im);
    if (!m->symbolizer || symbolizer_lookup(m->symbolizer, pc, &frames, &n) != 0)
        return NULL;
    return frames[n - 1].function; /* what is inlined has no frame of its own */
}

/* variable_of_thread is about a word near a thread's pointer: variables are below it. */
static char *variable_of_thread(struct making *m, const struct gomalloc_holder *h,
                                const char *thread) {
    if (h->tid == 0)
        return must_dup("libc's data of a thread that has ended");
    if (h->word == h->tp + sizeof(uint64_t))
        return must_format("the table of thread-local variables of %s", thread);
    if (h->word >= h->tp)
        return must_format("libc's data of %s: pthread_setspecific, start argument", thread);
    char *name = variable_thread_text(m->variables, h->tp - h->word);
    char *text = name ? must_format("%s, thread-local in %s", name, thread)
                      : must_format("a thread-local variable of %s", thread);
    free(name);
    return text;
}

static char *stack_text(struct making *m, const struct gomalloc_holder *h, const char *thread) {
    if (h->flags & GOMALLOC_HOLDER_VARIABLE)
        return variable_of_thread(m, h, thread);
    const char *function = h->pc ? function_at(m, h->pc) : NULL;
    char *data = h->pc ? NULL : variable_text(m->variables, h->word);
    if (data) /* a stack in a variable, or variables behind it */
        return data;
    return function ? must_format("stack of %s, in %s", thread, function)
                    : must_format("stack of %s", thread);
}

static char *mapped_text(const struct making *m, const struct gomalloc_holder *h) {
    char bytes[TEXT_NUMBER_SIZE];
    const struct gomalloc_mapping *mapping = image_mapping_at(m->im, h->word);
    const char *path = mapping ? image_string(m->im, mapping->path_str) : "";
    text_bytes_plain(bytes, (double)(h->end - h->start));
    return must_format("%s%s%s mapped by the program, at +0x%llx", path, path[0] ? ", " : "", bytes,
                       (unsigned long long)(h->word - h->start));
}

/* root_text returns what a root is, to be freed. */
static char *root_text(struct making *m, const struct gomalloc_holder *h) {
    char *thread = thread_text(h), *text = NULL;
    switch (h->kind) {
    case GOMALLOC_ROOT_DATA:
        text = variable_text(m->variables, h->word);
        break;
    case GOMALLOC_ROOT_STACK:
        text = stack_text(m, h, thread);
        break;
    case GOMALLOC_ROOT_REGISTER:
        text = must_format("register %.8s of %s", h->reg, thread);
        break;
    case GOMALLOC_ROOT_REGION:
        text = must_format("memory named by the program, at +0x%llx of 0x%llx",
                           (unsigned long long)(h->word - h->start), (unsigned long long)h->start);
        break;
    default:
        text = mapped_text(m, h);
    }
    free(thread);
    return text ? text : must_format("data at 0x%llx", (unsigned long long)h->word);
}

static const char *kind_text(uint32_t kind, uint32_t flags) {
    static const char *const names[] = {"data", "stack", "register", "mapped memory",
                                        "named by the program"};
    if (kind == GOMALLOC_HOLDER_OBJECT)
        return "object";
    if (kind == GOMALLOC_ROOT_STACK && flags & GOMALLOC_HOLDER_VARIABLE)
        return "thread-local";
    return kind < sizeof(names) / sizeof(*names) ? names[kind] : "other";
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* One row, as SQL has it: a negative number is NULL. */
struct row {
    const char *role, *kind, *place, *thread;
    int64_t step, words, leaked, address, at, size, requested, born, tid;
    uint32_t site;
};

static void add_number(struct making *m, int64_t n) {
    if (n < 0)
        sqlite3_str_appendall(m->sql, ",NULL");
    else
        sqlite3_str_appendf(m->sql, ",%lld", (long long)n);
}

static void add_row(struct making *m, const struct row *r) {
    const int64_t numbers[] = {r->step, r->words,     r->leaked, r->address, r->at,
                               r->size, r->requested, r->born,   r->tid};
    sqlite3_str_appendf(m->sql, "%s(%d,%Q,%Q,%Q,%Q,%u", m->nrows ? "," : "VALUES", m->nrows,
                        r->role, r->kind, r->place, r->thread, r->site);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        add_number(m, numbers[i]);
    sqlite3_str_appendchar(m->sql, 1, ')');
    m->nrows++;
}

static void add_object(struct making *m, const struct gomalloc_why *y) {
    const char *kind = y->state == GOMALLOC_WHY_REACHABLE ? "reachable"
                       : y->state == GOMALLOC_WHY_IGNORED ? "ignored"
                       : y->head == y->address            ? "direct leak"
                                                          : "indirect leak";
    add_row(m, &(struct row){.role = "object",
                             .kind = kind,
                             .step = -1,
                             .words = (int64_t)y->words,
                             .leaked = y->state == GOMALLOC_WHY_LEAKED,
                             .address = (int64_t)y->address,
                             .at = (int64_t)(y->asked - y->address),
                             .size = (int64_t)y->size,
                             .requested = y->site ? (int64_t)y->requested : -1,
                             .born = (int64_t)y->born - 1,
                             .tid = -1,
                             .site = y->site});
}

static void add_holder(struct making *m, const struct gomalloc_holder *h, bool chain) {
    char thread[sizeof(h->comm) + 1] = "";
    bool object = h->kind == GOMALLOC_HOLDER_OBJECT;
    char *place = object ? NULL : root_text(m, h);
    memcpy(thread, h->comm, sizeof(h->comm));
    add_row(m, &(struct row){.role = chain ? "chain" : "referrer",
                             .kind = kind_text(h->kind, h->flags),
                             .place = place,
                             .thread = thread[0] ? thread : NULL,
                             .step = chain ? (int64_t)h->number : -1,
                             .words = chain ? -1 : (int64_t)h->number,
                             .leaked = (h->flags & GOMALLOC_HOLDER_LEAKED) != 0,
                             .address = (int64_t)(object ? h->start : h->word),
                             .at = object && h->word ? (int64_t)(h->word - h->start) : -1,
                             .size = object ? (int64_t)(h->end - h->start) : -1,
                             .requested = h->site ? (int64_t)h->requested : -1,
                             .born = (int64_t)h->born - 1,
                             .tid = h->tid ? (int64_t)h->tid : -1,
                             .site = h->site});
    free(place);
}

static void add_holders(struct making *m, enum gomalloc_section_id section) {
    size_t n;
    const struct gomalloc_holder *all = image_section(m->im, section, &n);
    for (size_t i = 0; all && i < n; i++)
        add_holder(m, &all[i], section == GOMALLOC_SECTION_WHY_STEP);
}

/* Roots have a site of 0, so that each row finds a name. */
static const char frame[] =
    "(SELECT p.snapshot_id, v.column1 AS ord, v.column2 AS role, v.column3 AS kind,"
    " v.column4 AS place, v.column5 AS thread, v.column6 AS site_id, v.column7 AS step,"
    " v.column8 AS words, v.column9 AS leaked, v.column10 AS address, v.column11 AS at,"
    " v.column12 AS size, v.column13 AS requested, v.column15 AS tid,"
    " max((p.captured_ns - p.start_ns) / 1000000000 - v.column14, 0) AS age_s,"
    " CASE WHEN v.column4 IS NULL THEN n.function END AS function,"
    " CASE WHEN v.column4 IS NULL THEN n.location END AS location,"
    " n.file, n.line, n.module, n.module_offset, n.stack_id"
    " FROM (%s) v JOIN snapshot p ON p.snapshot_id = 1"
    " JOIN leak_site_name n ON n.snapshot_id = p.snapshot_id AND n.site_id = v.column6)";

char *why_source(const struct target *target) {
    struct making m = {.im = target->image, .sql = sqlite3_str_new(NULL)};
    m.variables = variables_new(m.im);
    add_object(&m, why_answer(target));
    add_holders(&m, GOMALLOC_SECTION_WHY_STEP);
    add_holders(&m, GOMALLOC_SECTION_REFERRER);
    variables_free(m.variables);
    symbolizer_free(m.symbolizer);
    char *values = sqlite3_str_finish(m.sql);
    char *sql = must_format(frame, values ? values : "VALUES(0)");
    sqlite3_free(values);
    return sql;
}

/* ---- no object ----------------------------------------------------------------------------- */

/* outside returns what is at an address that is not in the heap, to be freed. */
static char *outside(const struct image *im, uint64_t address) {
    const struct gomalloc_mapping *m = image_mapping_at(im, address);
    const char *path = m ? image_string(im, m->path_str) : "";
    struct variables *variables = variables_new(im);
    char *data = path[0] != '[' ? variable_text(variables, address) : NULL;
    variables_free(variables);
    char *text = data      ? must_format("it is %s", data)
                 : path[0] ? must_format("it is in %s", path)
                           : must_dup("malloc has not returned it");
    free(data);
    return text;
}

enum status why_no_object(const struct target *target, struct failure *failure) {
    const struct gomalloc_why *y = why_answer(target);
    unsigned long long at = y->asked, size = y->size;
    char *where;
    switch (y->state) {
    case GOMALLOC_WHY_OWN:
        return fail(failure, STATUS_NO_TARGET,
                    "0x%llx is in memory of libgomalloc itself: give the address of an object", at);
    case GOMALLOC_WHY_NO_SPAN:
        return fail(failure, STATUS_NO_TARGET,
                    "0x%llx is in a free page of the heap: what was there has been freed", at);
    case GOMALLOC_WHY_STACK:
        return fail(failure, STATUS_NO_TARGET,
                    "0x%llx is in a stack of gomalloc_stack_alloc: give the address of an object",
                    at);
    case GOMALLOC_WHY_NO_SLOT:
        return fail(failure, STATUS_NO_TARGET,
                    "0x%llx is in the unused end of a span: there is no object", at);
    case GOMALLOC_WHY_FREE:
        return fail(failure, STATUS_NO_TARGET,
                    "0x%llx is in a free slot of %llu bytes, 0x%llx: what was there has been freed",
                    at, size, (unsigned long long)y->address);
    default:
        where = outside(target->image, at);
        fail(failure, STATUS_NO_TARGET, "0x%llx is not in the heap: %s", at, where);
        free(where);
        return failure->status;
    }
}
