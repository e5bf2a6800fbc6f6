/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect snapshot: one moment of a heap into a file: an image, or a row more in a database.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "db.h"
#include "objects.h"
#include "savefile.h"
#include "target.h"
#include "text.h"

struct own {
    const char *file;
    bool leaks;
    enum db_objects objects;
};

enum { OPT_LEAKS = 0x300 };

/* Everything, leak check and all: that must be asked for by name. */
#define WITH_LEAKS ((UINT64_C(1) << GOMALLOC_NSECTIONS) - 1)

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "FILE.db: add a snapshot to it; FILE.gmi: write the image", 1},
    OBJECTS_OPTION,
    {"leaks", OPT_LEAKS, NULL, 0, "check a process for leaks, and store what was found", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    if (key == OPT_LEAKS)
        own->leaks = true;
    else if (key == OBJECTS_KEY)
        own->objects = objects_parse(arg, state);
    else if (savefile_kind(arg))
        own->file = arg;
    else
        argp_error(state, "-o: '%s' ends neither in .db nor in .gmi", arg);
}

static enum status save_image(const char *file, const struct target *target,
                              struct failure *failure) {
    char size[TEXT_NUMBER_SIZE];
    int error = savefile(file, image_bytes(target->image), image_size(target->image));
    if (error)
        return fail(failure, status_of_error(error), "%s: cannot write: %s; nothing was changed",
                    file, strerror(-error));
    text_bytes_plain(size, (double)image_size(target->image));
    say("%s: %s; next: goinspect status %s", file, size, file);
    return STATUS_DONE;
}

static enum status save_snapshot(const struct own *own, const char *file,
                                 const struct target *target, struct failure *failure) {
    char text[512] = "";
    struct db_import_options import = {.objects = own->objects};
    struct db_import_result result;
    int error = db_import(file, target->image, &import, &result, text, sizeof(text));
    if (error)
        return fail(failure, status_of_error(error), "%s", text);
    say("%s: snapshot %lld%s; next: goinspect %s %s", file, (long long)result.snapshot_id,
        result.added ? "" : " was there already", result.snapshot_id > 1 ? "growth" : "sites",
        file);
    return STATUS_DONE;
}

/* default_file is NAME-PID.db: snapshots of one process gather in one file. */
static char *default_file(const struct target *target) {
    const struct gomalloc_process *process = image_process(target->image);
    char *name = must_format("%s-%u.db", image_string(target->image, process->comm_str),
                             (unsigned)(target->pid ? (unsigned)target->pid : process->pid));
    for (char *p = name; *p; p++)
        if (*p == '/' || *p == ' ' || *p == ':')
            *p = '_';
    return name;
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    enum status status =
        target_image(line->words[0], own->leaks ? WITH_LEAKS : CLIENT_RESIDENT, &target, &failure);
    if (status == STATUS_DONE && own->leaks &&
        !image_has(target.image, GOMALLOC_SECTION_LEAK_CHECK)) {
        status = fail(&failure, STATUS_BAD_VERSION, "%s %s", target.word,
                      target.kind == TARGET_PROCESS
                          ? "can't check for leaks: its library is older than goinspect"
                          : "holds no leak check, and only a process can make one");
        target_close(&target);
    }
    if (status != STATUS_DONE)
        return say_failure(&failure);
    char *file = own->file ? must_dup(own->file) : default_file(&target);
    status = savefile_kind(file) == 'g' ? save_image(file, &target, &failure)
                                        : save_snapshot(own, file, &target, &failure);
    free(file);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_snapshot = {
    .name = "snapshot",
    .usage = "TARGET",
    .summary = "save one moment: into FILE.db beside others, or as FILE.gmi",
    .details = "Without -o the file is NAME-PID.db here.",
    .examples = "  goinspect snapshot redis-server -o heap.db\n"
                "  goinspect snapshot 1234 -o heap.gmi\n"
                "  goinspect snapshot 1234 --leaks -o heap.db; goinspect leaks heap.db\n",
    .takes = TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .run = run,
};
