/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Images and snapshot files as SQLite databases.
 *
 * Whatever the target, a command gets a sqlite3 handle in which the same tables and v1_* views
 * exist (gomalloc-schema(5)): in a FILE.db they are real tables; over an image (a live process, a
 * saved file) they are views over virtual tables, with snapshot_id = 1.  So a command is one query,
 * and `goinspect sql` shows whatever a command shows.
 *
 * Every function returns 0 or a negative errno, and on failure leaves one line for people in err
 * (lower case, names the file):
 *
 *      IMAGE_DAMAGED   not a database, or cut short, or corrupt                    exit status 2
 *      IMAGE_VERSION   a database of another application or schema version         exit status 5
 *      -ENOENT         no such file
 *      -EACCES/-EROFS  not permitted, or a read-only directory
 *      -ENOSPC         no space: the file is as it was before
 */
#ifndef GOINSPECT_DB_H
#define GOINSPECT_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "image/image.h"

#define DB_APPLICATION_ID 0x474D4C43 /* "GMLC" */
#define DB_USER_VERSION   3
#define DB_OLDEST_VERSION 1 /* read as it is, and brought up to date by the next import */

/*
 * db_open_image makes an in-memory database over an image, which must outlive it.  It can only be
 * queried: see db_restrict().  Close it with db_close().
 */
int db_open_image(const struct image *im, sqlite3 **ret, char *err, size_t errlen);

/* db_open_file opens the snapshot file at path for queries and checks whose it is. */
int db_open_file(const char *path, sqlite3 **ret, char *err, size_t errlen);

/* db_is_database says whether the file at path begins like an SQLite database (or is empty). */
bool db_is_database(const char *path);

void db_close(sqlite3 *db); /* NULL is allowed */

/*
 * db_restrict lets a handle read only: no write, no ATTACH, no extension, no pragma that changes
 * something.  db_open_image and db_open_file have called it already.
 */
int db_restrict(sqlite3 *db);

/* db_latest_snapshot returns the id of the snapshot captured last, 0 if there is none. */
int64_t db_latest_snapshot(sqlite3 *db);

/* Which objects an import stores one by one; the sums per site are stored in any case. */
enum db_objects {
    DB_OBJECTS_RECORDED = 0, /* those with a site: all of them at rate=1 */
    DB_OBJECTS_ALL = 1,
    DB_OBJECTS_NONE = 2,
    DB_OBJECTS_SAMPLE = 3, /* of the recorded, 100,000 at most */
    DB_OBJECTS_LEAKED = 4  /* those that the image's leak check has found */
};

/* db_objects_name returns "recorded", "all", ...; db_objects_named finds what is called so. */
const char *db_objects_name(enum db_objects objects);
bool db_objects_named(const char *name, enum db_objects *ret);

struct db_import_options {
    enum db_objects objects;
    int64_t keep; /* so many snapshots stay in the file, the oldest go; 0: all */
    /* Told how far it is, as long as it takes; NULL: nobody. */
    void (*progress)(const char *what, size_t done, size_t total);
};

struct db_import_result {
    int64_t snapshot_id; /* of the image in the file */
    bool added;          /* false: the same image was there already */
    int64_t gone;        /* old snapshots that were deleted for it */
};

/*
 * db_import adds an image to the snapshot file at path, which it creates if there is none.  A new
 * file is written beside its place and renamed into it when it is whole; an existing one is changed
 * in one transaction.  options may be NULL, ret too.
 */
int db_import(const char *path, const struct image *im, const struct db_import_options *options,
              struct db_import_result *ret, char *err, size_t errlen);

#endif
