/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect export: the sites as a profile for another program: pprof, or what draws flame graphs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "report/pprof.h"
#include "report/samples.h"
#include "base/savefile.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

enum { AS_NOTHING, AS_PPROF, AS_FOLDED };

struct own {
    int as;
    int value;        /* enum sample_value, of folded stacks */
    bool chosen;      /* by --sample */
    const char *file; /* NULL: standard output */
};

enum { OPT_PPROF = 0x300, OPT_FOLDED, OPT_SAMPLE };

static const struct argp_option options[] = {
    {"pprof", OPT_PPROF, NULL, 0, "a heap profile for pprof, compressed", 1},
    {"folded", OPT_FOLDED, NULL, 0, "a line for each stack, for flame graphs", 1},
    {"sample", OPT_SAMPLE, "WHAT", 0,
     "of --folded: inuse_space (default), inuse_objects, alloc_space or alloc_objects", 1},
    {"output", 'o', "FILE", 0, "write it there, not to standard output", 1},
    {.name = NULL}};

static int value_named(const char *name) {
    static const char *const names[SAMPLE_NVALUES] = {[ALLOC_OBJECTS] = "alloc_objects",
                                                      [ALLOC_SPACE] = "alloc_space",
                                                      [INUSE_OBJECTS] = "inuse_objects",
                                                      [INUSE_SPACE] = "inuse_space"};
    for (int i = 0; i < SAMPLE_NVALUES; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    switch (key) {
    case OPT_PPROF:
    case OPT_FOLDED:
        if (own->as != AS_NOTHING)
            usage_error(state, "--pprof and --folded: one of them");
        own->as = key == OPT_PPROF ? AS_PPROF : AS_FOLDED;
        break;
    case OPT_SAMPLE:
        own->chosen = true;
        own->value = value_named(arg);
        if (own->value < 0)
            usage_error(state,
                        "--sample: '%s' is none of inuse_space, inuse_objects, alloc_space "
                        "and alloc_objects",
                        arg);
        break;
    default:
        own->file = arg;
        break;
    }
}

/* ---- folded stacks ------------------------------------------------------------------------ */

/* What stands for each frame, made when it is first met: most stacks share most of their frames. */
struct folder {
    struct samples *samples;
    char **texts; /* by frame id: its functions, outermost first; NULL = not met yet */
    size_t room;
    char *text; /* of the frame that is being made */
};

/* add_function puts a function, in whose name nothing separates frames or lines, before those that
 * were inlined into it. */
static void add_function(const struct sample_line *line, void *arg) {
    struct folder *f = arg;
    char *name = text_clean(line->function, strlen(line->function), true);
    for (char *p = name; *p; p++)
        if (*p == ';')
            *p = ':';
    char *longer = f->text ? must_format("%s;%s", name, f->text) : must_dup(name);
    free(name);
    free(f->text);
    f->text = longer;
}

static const char *text_of(struct folder *f, int64_t frame) {
    size_t i = (size_t)frame;
    if (i >= f->room) {
        size_t room = 2 * i + 1024;
        f->texts = must_realloc(f->texts, room, sizeof(*f->texts));
        memset(f->texts + f->room, 0, (room - f->room) * sizeof(*f->texts));
        f->room = room;
    }
    if (!f->texts[i]) {
        f->text = NULL;
        samples_lines(f->samples, frame, add_function, f);
        f->texts[i] = f->text ? f->text : must_dup("??");
    }
    return f->texts[i];
}

static void print_folded(FILE *out, struct folder *f, const struct sample *sample, int value) {
    if (sample->values[value] == 0)
        return;
    for (size_t i = sample->nframes; i-- > 0;)
        fprintf(out, "%s%c", text_of(f, sample->frames[i]), i ? ';' : ' ');
    if (sample->nframes == 0)
        fprintf(out, "%s ", sample->name);
    fprintf(out, "%lld\n", (long long)sample->values[value]);
}

static enum status folded_make(const struct target *target, int value, void **ret_bytes,
                               size_t *ret_size, struct failure *failure) {
    struct folder f = {.texts = NULL};
    struct sample sample;
    char *text = NULL;
    enum status status = samples_open(target, false, &f.samples, failure);
    if (status != STATUS_DONE)
        return status;
    FILE *out = open_memstream(&text, ret_size);
    while (out && samples_next(f.samples, &sample))
        print_folded(out, &f, &sample, value);
    status = samples_close(f.samples, failure);
    if ((!out || fclose(out) != 0) && status == STATUS_DONE)
        status = fail(failure, STATUS_FAILURE, "%s", strerror(ENOMEM));
    for (size_t i = 0; i < f.room; i++)
        free(f.texts[i]);
    free(f.texts);
    *ret_bytes = text;
    return status;
}

/* ---- the verb ----------------------------------------------------------------------------- */

static enum status deliver(const struct own *own, const void *bytes, size_t size,
                           struct failure *failure) {
    int error = own->file ? savefile(own->file, bytes, size) : 0;
    if (error)
        return fail(failure, status_of_error(error), "%s: cannot write: %s; nothing was changed",
                    own->file, strerror(-error));
    if (!own->file && (fwrite(bytes, 1, size, stdout) != size || fflush(stdout) != 0))
        return fail(failure, STATUS_FAILURE, "standard output: %s", strerror(errno));
    if (own->file && own->as == AS_PPROF)
        say("%s: next: go tool pprof -top %s", own->file, own->file);
    return STATUS_DONE;
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct own *own = line->own;
    void *bytes = NULL;
    size_t size = 0;
    enum status status =
        own->as == AS_PPROF
            ? pprof_make(target, &bytes, &size, failure)
            : folded_make(target, own->chosen ? own->value : INUSE_SPACE, &bytes, &size, failure);
    if (status == STATUS_DONE)
        status = deliver(own, bytes, size, failure);
    free(bytes);
    return status;
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    if (own->as == AS_NOTHING) {
        say("export: say as what: --pprof or --folded");
        return STATUS_USAGE;
    }
    if (own->chosen && own->as == AS_PPROF) {
        say("export: a profile for pprof holds all four; --sample goes with --folded");
        return STATUS_USAGE;
    }
    if (own->as == AS_PPROF && !own->file && isatty(STDOUT_FILENO)) {
        say("export: a profile for pprof is no text; write it to a file with -o FILE");
        return STATUS_USAGE;
    }
    return view_on_target(line, show);
}

const struct command command_verb_export = {
    .name = "export",
    .usage = "TARGET",
    .summary = "call sites as a profile for pprof or for flame graphs",
    .details = "The profile for pprof has the sample types of Go's heap profiles, and on each\n"
               "sample the labels site (its number) and escape (what became of its objects).\n"
               "Folded stacks are lines \"main;load;read_line 4096\".",
    .examples = "  goinspect export redis-server --pprof -o heap.pb.gz\n"
                "  go tool pprof -http=: heap.pb.gz\n"
                "  goinspect export heap.gmi --folded --sample alloc_space | flamegraph.pl\n",
    .takes = TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .run = run,
};
