/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect snapshot: one moment of a heap into a file: an image, or a row more in a database; or,
 * with --every, a moment each time that it has passed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "cli/command.h"
#include "db/db.h"
#include "base/numbered.h"
#include "db/objects.h"
#include "base/progress.h"
#include "base/savefile.h"
#include "report/series.h"
#include "target/target.h"
#include "base/text.h"
#include "base/usage.h"

struct own {
    const char *file;
    bool leaks;
    enum db_objects objects;
    bool objects_chosen; /* else many snapshots take a sample, that the file stays small */
    int64_t every_ns;    /* 0: once */
    int64_t keep;        /* snapshots, or numbered images; 0: all */
};

enum { OPT_LEAKS = 0x300, OPT_EVERY = 0x310, OPT_KEEP };

/* Everything, leak check and all: that must be asked for by name. */
#define WITH_LEAKS ((UINT64_C(1) << GOMALLOC_NSECTIONS) - 1)

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0,
     "FILE.db: add a snapshot to it; FILE.gmi: write the image; %n in its name: the next number",
     1},
    {"every", OPT_EVERY, "TIME", 0,
     "again and again (30s, 5m, 1h), until the process has ended or ^C", 1},
    {"keep", OPT_KEEP, "N", 0, "let the oldest go, so that N snapshots, or numbered images, stay",
     1},
    OBJECTS_OPTION,
    {"leaks", OPT_LEAKS, NULL, 0, "check a process for leaks, and store what was found", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    if (key == OPT_LEAKS)
        own->leaks = true;
    else if (key == OPT_KEEP)
        own->keep = option_number(arg, "--keep", 1, state);
    else if (key == OPT_EVERY) {
        if ((own->every_ns = series_parse(arg)) == 0)
            usage_error(state, "--every: '%s' is not a time such as 30s, 5m or 1h", arg);
    } else if (key == OBJECTS_KEY)
        own->objects = objects_parse(arg, state), own->objects_chosen = true;
    else if (savefile_kind(arg))
        own->file = arg;
    else
        usage_error(state, "-o: '%s' ends neither in .db nor in .gmi", arg);
}

/* What has been saved. */
struct saved {
    const char *file;
    bool database;
    int64_t number; /* of the snapshot in the file, or of the file */
    bool added;     /* false: it was there already */
    int64_t gone;   /* old ones that were deleted */
};

static enum status save_image(const struct own *own, const char *file, const struct target *target,
                              struct saved *ret, struct failure *failure) {
    *ret = (struct saved){.file = file, .added = true};
    char *name = numbered_is(file) ? numbered_next(file, &ret->number) : must_dup(file);
    int error = savefile(name, image_bytes(target->image), image_size(target->image));
    enum status status = STATUS_DONE;
    if (error)
        status = fail(failure, status_of_error(error), "%s: cannot write: %s; nothing was changed",
                      name, strerror(-error));
    else if (own->keep && numbered_is(file))
        ret->gone = numbered_keep(file, own->keep);
    free(name);
    return status;
}

static enum status save_snapshot(const struct own *own, const char *file,
                                 const struct target *target, struct saved *ret,
                                 struct failure *failure) {
    char text[512] = "";
    struct db_import_options import = {
        .objects = own->every_ns && !own->objects_chosen ? DB_OBJECTS_SAMPLE : own->objects,
        .keep = own->keep,
        .progress = progress_show};
    struct db_import_result result;
    int error = db_import(file, target->image, &import, &result, text, sizeof(text));
    progress_end();
    if (error)
        return fail(failure, status_of_error(error), "%s", text);
    *ret = (struct saved){.file = file,
                          .database = true,
                          .number = result.snapshot_id,
                          .added = result.added,
                          .gone = result.gone};
    return STATUS_DONE;
}

/* fetch gets the image of word. */
static enum status fetch(const struct own *own, const char *word, struct target *target,
                         struct failure *failure) {
    enum status status =
        target_image(word, own->leaks ? WITH_LEAKS : CLIENT_RESIDENT, target, failure);
    if (status != STATUS_DONE || !own->leaks ||
        image_has(target->image, GOMALLOC_SECTION_LEAK_CHECK))
        return status;
    status = fail(failure, STATUS_BAD_VERSION, "%s %s", target->word,
                  target->kind == TARGET_PROCESS
                      ? "can't check for leaks: its library is older than goinspect"
                      : "holds no leak check, and only a process can make one");
    target_close(target);
    return status;
}

/* name_file is NAME-PID.db: snapshots of one process gather in one file. */
static char *name_file(const char *comm, unsigned pid) {
    char *name = must_format("%s-%u.db", comm, pid);
    for (char *p = name; *p; p++)
        if (*p == '/' || *p == ' ' || *p == ':')
            *p = '_';
    return name;
}

static char *default_file(const struct target *target) {
    const struct gomalloc_process *process = image_process(target->image);
    return name_file(image_string(target->image, process->comm_str),
                     target->pid ? (unsigned)target->pid : process->pid);
}

static enum status save(const struct own *own, const char *file, const struct target *target,
                        struct saved *ret, struct failure *failure) {
    return savefile_kind(file) == 'g' ? save_image(own, file, target, ret, failure)
                                      : save_snapshot(own, file, target, ret, failure);
}

/* say_saved says what came of one, and what to do next. */
static void say_saved(const struct saved *saved, const struct target *target) {
    char size[TEXT_NUMBER_SIZE];
    text_bytes_plain(size, (double)image_size(target->image));
    if (saved->database)
        say("%s: snapshot %lld%s; next: goinspect %s %s", saved->file, (long long)saved->number,
            saved->added ? "" : " was there already", saved->number > 1 ? "growth" : "sites",
            saved->file);
    else if (saved->number)
        say("%s: number %lld, %s", saved->file, (long long)saved->number, size);
    else
        say("%s: %s; next: goinspect status %s", saved->file, size, saved->file);
}

static enum status once(const struct own *own, const char *word) {
    struct failure failure = {.status = STATUS_DONE};
    struct target target;
    struct saved saved;
    enum status status = fetch(own, word, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    char *file = own->file ? must_dup(own->file) : default_file(&target);
    status = save(own, file, &target, &saved, &failure);
    if (status == STATUS_DONE)
        say_saved(&saved, &target);
    free(file);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

/* ---- again and again ---------------------------------------------------------------------- */

struct again {
    const struct own *own;
    const char *file;
    char pid[16]; /* the process, however it was called */
};

static enum status step(void *arg, char *line, size_t size, struct failure *failure) {
    const struct again *again = arg;
    struct target target;
    struct saved saved;
    char when[TEXT_NUMBER_SIZE], rss[TEXT_NUMBER_SIZE];
    enum status status = fetch(again->own, again->pid, &target, failure);
    if (status != STATUS_DONE)
        return status;
    text_moment(when, (int64_t)image_header(target.image)->captured_ns);
    text_bytes_plain(rss, (double)image_process(target.image)->rss_bytes);
    status = save(again->own, again->file, &target, &saved, failure);
    target_close(&target);
    if (status != STATUS_DONE)
        return STATUS_FAILURE; /* there may be room again when the next one comes */
    int n = snprintf(line, size, "%s %lld, %s, %s resident", saved.database ? "snapshot" : "number",
                     (long long)saved.number, when, rss);
    if (saved.gone && n > 0 && (size_t)n < size)
        snprintf(line + n, size - (size_t)n, ", %lld old one%s deleted", (long long)saved.gone,
                 saved.gone == 1 ? "" : "s");
    return STATUS_DONE;
}

/* file_of_series returns the file's name, NULL if a series cannot go there. */
static char *file_of_series(const struct own *own, pid_t pid) {
    struct proc proc;
    if (!own->file) {
        return name_file(proc_read(pid, &proc) == 0 ? proc.comm : "process", (unsigned)pid);
    }
    return savefile_kind(own->file) == 'd' || numbered_is(own->file) ? must_dup(own->file) : NULL;
}

static enum status again_and_again(const struct own *own, const char *word) {
    struct failure failure = {.status = STATUS_DONE};
    struct again again = {.own = own};
    pid_t pid;
    if (target_pid(word, &pid, &failure) != STATUS_DONE)
        return say_failure(&failure);
    char *file = file_of_series(own, pid);
    if (!file) {
        say("snapshot: %s holds one moment; with --every write a FILE.db, or number the images: "
            "FILE-%%n.gmi",
            own->file);
        return STATUS_USAGE;
    }
    again.file = file;
    snprintf(again.pid, sizeof(again.pid), "%d", (int)pid);
    const struct series series = {own->every_ns, file, &again, step};
    enum status status = series_run(&series, pid, &failure);
    free(file);
    if (status != STATUS_DONE)
        say_failure(&failure);
    return status;
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    bool database = !own->file || savefile_kind(own->file) == 'd';
    if (own->keep && !database && !numbered_is(own->file)) {
        say("snapshot: --keep is for a FILE.db or for numbered images (FILE-%%n.gmi), not for %s",
            own->file);
        return STATUS_USAGE;
    }
    return own->every_ns ? again_and_again(own, line->words[0]) : once(own, line->words[0]);
}

const struct command command_verb_snapshot = {
    .name = "snapshot",
    .usage = "TARGET",
    .summary = "save one moment: into FILE.db beside others, or as FILE.gmi",
    .details =
        "Without -o the file is NAME-PID.db here.  --keep counts all snapshots of a file, of\n"
        "whatever process.",
    .examples = "  goinspect snapshot redis-server -o heap.db\n"
                "  goinspect snapshot 1234 -o heap.gmi\n"
                "  goinspect snapshot 1234 -o heap.db --every 30s --keep 100\n"
                "  goinspect snapshot 1234 --leaks -o heap.db; goinspect leaks heap.db\n",
    .takes = TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .run = run,
};
