/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect import: saved images into a snapshot file.  The library runs it with --remove at the
 * end of a program that has GOMALLOC=exit=FILE.db: what it says then would be in the midst of what
 * the program says, so it says nothing but failures.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "db/db.h"
#include "db/objects.h"
#include "base/progress.h"
#include "base/savefile.h"
#include "names/symbol.h"
#include "target/target.h"

struct own {
    enum db_objects objects;
    bool remove, quiet;
    int64_t keep; /* snapshots; 0: all */
};

enum { OPT_KEEP = 0x311 };

static const struct argp_option options[] = {
    OBJECTS_OPTION,
    {"remove", 'r', NULL, 0, "delete each image once it is in the file; implies --quiet", 1},
    {"keep", OPT_KEEP, "N", 0, "let the oldest snapshots go, so that N stay", 1},
    {"quiet", 'q', NULL, 0, "say nothing but failures", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    own->quiet |= key == 'r' || key == 'q';
    if (key == OBJECTS_KEY)
        own->objects = objects_parse(arg, state);
    else if (key == OPT_KEEP)
        own->keep = option_number(arg, "--keep", 1, state);
    else if (key == 'r')
        own->remove = true;
    if (own->quiet)
        symbolizer_quiet();
}

static enum status import_one(const struct own *own, const char *image_path, const char *file,
                              struct failure *failure) {
    char text[512] = "";
    struct db_import_options import = {
        .objects = own->objects, .keep = own->keep, .progress = own->quiet ? NULL : progress_show};
    struct db_import_result result;
    struct target target;
    enum status status = target_image(image_path, TARGET_EVERYTHING, &target, failure);
    if (status != STATUS_DONE)
        return status;
    int error = db_import(file, target.image, &import, &result, text, sizeof(text));
    progress_end();
    target_close(&target);
    if (error)
        return fail(failure, status_of_error(error), "%s", text);
    if (!own->quiet)
        say("%s: snapshot %lld of %s%s", image_path, (long long)result.snapshot_id, file,
            result.added ? "" : " (was there already)");
    if (own->remove && target.kind == TARGET_IMAGE && unlink(image_path) != 0)
        return fail(failure, STATUS_FAILURE, "%s: is imported, but cannot be removed: %s",
                    image_path, strerror(errno));
    return STATUS_DONE;
}

static enum status run(struct command_line *line) {
    const char *file = line->words[line->nwords - 1];
    enum status worst = STATUS_DONE;
    if (savefile_kind(file) == 'g') {
        say("import: the last word is the FILE.db to import into, not '%s'", file);
        return STATUS_USAGE;
    }
    for (size_t i = 0; i + 1 < line->nwords; i++) {
        struct failure failure = {.status = STATUS_DONE};
        enum status status = import_one(line->own, line->words[i], file, &failure);
        if (status != STATUS_DONE) {
            say_failure(&failure);
            worst = worst == STATUS_DONE ? status : worst; /* the others may be whole */
        }
    }
    return worst;
}

const struct command command_verb_import = {
    .name = "import",
    .usage = "FILE.gmi... FILE.db",
    .summary = "saved images into a snapshot file; one that is there adds nothing",
    .examples = "  goinspect import heap-*.gmi heap.db\n",
    .takes = TAKES_WRAPPERS,
    .min_words = 2,
    .max_words = (size_t)-1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .run = run,
};
