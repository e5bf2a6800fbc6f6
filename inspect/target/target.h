/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a verb is asked about: a live process, a saved image, or a snapshot in a file.  All three
 * are a database handle and a snapshot's number.
 */
#ifndef GOINSPECT_TARGET_H
#define GOINSPECT_TARGET_H

#include <sqlite3.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/image.h"
#include "base/say.h"

enum target_kind { TARGET_PROCESS, TARGET_IMAGE, TARGET_DATABASE };

struct target {
    const char *word; /* as it was named, without @N */
    char *file;       /* the same if there was an @N, else NULL */
    enum target_kind kind;
    pid_t pid;           /* TARGET_PROCESS */
    struct image *image; /* not TARGET_DATABASE */
    sqlite3 *db;         /* only after target_open() */
    int64_t snapshot;    /* to look at, in db */
};

#define TARGET_EVERYTHING 0 /* sections: all of them */

/*
 * target_image finds word and gets its image; a snapshot file is STATUS_USAGE.  sections is a mask
 * of 1 << section id, and of GOMALLOC_ASK_*, that a live process is asked for.  STATUS_DONE, or
 * *failure.
 */
enum status target_image(const char *word, uint64_t sections, struct target *ret,
                         struct failure *failure);

/* target_open finds word, which may be FILE.db@N, and opens it as a database.  snapshot is NULL or
 * "latest" or "first" or a number of a snapshot in a FILE.db. */
enum status target_open(const char *word, const char *snapshot, struct target *ret,
                        struct failure *failure);

/* target_open_asking is target_open, but a live process is asked for these sections. */
enum status target_open_asking(const char *word, const char *snapshot, uint64_t sections,
                               struct target *ret, struct failure *failure);

/* target_open_why is target_open, but a live process is asked GOMALLOC_VERB_WHY with that argument.
 */
enum status target_open_why(const char *word, const char *snapshot, uint64_t arg,
                            struct target *ret, struct failure *failure);

void target_close(struct target *target);

/* target_pid finds the one process that word (a number or a name) means. */
enum status target_pid(const char *word, pid_t *ret, struct failure *failure);

/* fetch_image asks the process for its image. */
enum status fetch_image(pid_t pid, uint64_t sections, double patience, struct image **ret,
                        struct failure *failure);

/* status_of_error returns the status that the error of a module of the data half stands for. */
enum status status_of_error(int error);

#endif
