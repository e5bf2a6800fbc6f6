/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect scavenge: have a live process give its free pages back to the kernel, and show what
 * came of it.  The figures are those of two images, one before and one after.
 */
#include "target/client.h"
#include "cli/command.h"
#include "target/target.h"
#include "base/text.h"

static const struct column columns[] = {
    {"item", NULL, KIND_TEXT, 0, "stable name of the figure"},
    {"before", NULL, KIND_BYTES, 0, "bytes, before"},
    {"after", NULL, KIND_BYTES, 0, "bytes, after"},
    {"meaning", NULL, KIND_TEXT, COLUMN_CUT, "the same in words"},
};

enum figure { RSS, SPANS, CACHED, FREE_BACKED, FREE_RETURNED, NFIGURES };

static const struct {
    const char *item, *meaning;
} figures[NFIGURES] = {
    [RSS] = {"process.rss", "resident set of the whole process"},
    [SPANS] = {"heap.spans", "pages in spans"},
    [CACHED] = {"spans.cached_bytes", "of these, free slots in threads' caches"},
    [FREE_BACKED] = {"heap.free_backed", "free pages that are backed"},
    [FREE_RETURNED] = {"heap.scavenged", "free pages given back, or never touched"},
};

/* measure fills the figures of a process. */
static enum status measure(pid_t pid, uint64_t ret[NFIGURES], struct failure *failure) {
    uint64_t sections = UINT64_C(1) << GOMALLOC_SECTION_PROCESS |
                        UINT64_C(1) << GOMALLOC_SECTION_ARENA |
                        UINT64_C(1) << GOMALLOC_SECTION_THREAD;
    struct image *im;
    size_t n;
    enum status status = fetch_image(pid, sections, 0, &im, failure);
    if (status != STATUS_DONE)
        return status;
    const struct gomalloc_arena *arenas = image_section(im, GOMALLOC_SECTION_ARENA, &n);
    ret[RSS] = image_process(im)->rss_bytes;
    ret[SPANS] = ret[CACHED] = ret[FREE_BACKED] = ret[FREE_RETURNED] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct gomalloc_arena *a = &arenas[i];
        ret[SPANS] += a->in_use_pages * GOMALLOC_IMAGE_PAGE;
        ret[FREE_RETURNED] += a->scavenged_pages * GOMALLOC_IMAGE_PAGE;
        if (a->free_pages > a->scavenged_pages)
            ret[FREE_BACKED] += (a->free_pages - a->scavenged_pages) * GOMALLOC_IMAGE_PAGE;
    }
    const struct gomalloc_thread *threads = image_section(im, GOMALLOC_SECTION_THREAD, &n);
    for (size_t i = 0; i < n; i++)
        ret[CACHED] += threads[i].cached_bytes;
    image_close(im);
    return STATUS_DONE;
}

struct own {
    bool threads;
};

static const struct argp_option options[] = {
    {"threads", 't', NULL, 0,
     "also what threads keep that sleep; all threads stand still for about a millisecond", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    (void)key, (void)arg, (void)state;
    ((struct own *)line->own)->threads = true;
}

/* order has the process do it; *ret_bytes went back. */
static enum status order(pid_t pid, bool threads, uint64_t *ret_bytes, struct failure *failure) {
    struct client client;
    struct gomalloc_reply reply;
    enum status status = client_open(pid, 0, &client, failure);
    if (status != STATUS_DONE)
        return status;
    status = client_call(&client, GOMALLOC_VERB_SCAVENGE, threads ? GOMALLOC_SCAVENGE_THREADS : 0,
                         &reply, NULL, failure);
    if (status == STATUS_FORBIDDEN)
        fail(failure, status,
             "process %d (%s) takes no orders: %s; start it without GOMALLOC=control=off", (int)pid,
             client.proc.comm, reply.message);
    *ret_bytes = status == STATUS_DONE ? reply.value : 0;
    if (status == STATUS_DONE && threads)
        say("process %d: %s", (int)pid,
            *reply.message ? reply.message
                           : "its library leaves threads' caches alone: it is older");
    client_close(&client);
    return status;
}

static enum status show(const struct command_line *line, const uint64_t before[NFIGURES],
                        const uint64_t after[NFIGURES], struct failure *failure) {
    const size_t ncolumns = sizeof(columns) / sizeof(*columns);
    struct output *output = output_open(&line->output, "scavenge", columns, ncolumns, failure);
    if (!output)
        return failure->status;
    for (int i = 0; i < NFIGURES; i++) {
        const struct value row[] = {value_text(figures[i].item), value_integer((int64_t)before[i]),
                                    value_integer((int64_t)after[i]),
                                    value_text(figures[i].meaning)};
        if (!output_row(output, row))
            break;
    }
    output_close(output);
    return STATUS_DONE;
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    struct failure failure = {.status = STATUS_DONE};
    uint64_t before[NFIGURES], after[NFIGURES], returned = 0;
    char bytes[TEXT_NUMBER_SIZE];
    pid_t pid = 0;
    enum status status = target_pid(line->words[0], &pid, &failure);
    if (status == STATUS_DONE)
        status = measure(pid, before, &failure);
    if (status == STATUS_DONE)
        status = order(pid, own->threads, &returned, &failure);
    if (status == STATUS_DONE)
        status = measure(pid, after, &failure);
    if (status == STATUS_DONE)
        status = show(line, before, after, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    text_bytes_plain(bytes, (double)returned);
    say("process %d has given %s back", (int)pid, bytes);
    return status;
}

const struct command command_verb_scavenge = {
    .name = "scavenge",
    .usage = "TARGET",
    .summary = "have a live process give its free pages back to the kernel",
    .details =
        "What threads keep in their own caches stays with them unless --threads is given.  The\n"
        "process must have been started with GOMALLOC=control=on, which is the default.",
    .examples = "  goinspect scavenge redis-server\n"
                "  goinspect scavenge redis-server --threads\n"
                "  goinspect scavenge 1234 -o json\n",
    .takes = TAKES_FORMAT,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
