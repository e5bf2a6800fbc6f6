/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the db_*.c files share; db.h is for everybody else.
 */
#ifndef GOINSPECT_DB_PRIVATE_H
#define GOINSPECT_DB_PRIVATE_H

#include "db/db.h"

/* Where a failure is reported, and which file it is about. */
struct db_fault {
    const char *path;
    char *err;
    size_t errlen;
};

/* db_fault says a line about the file and returns code. */
__attribute__((format(printf, 3, 4))) int db_fault(const struct db_fault *f, int code,
                                                   const char *fmt, ...);

/* db_fault_sqlite turns the last failure of a handle (NULL: memory is short) into a line and a
 * negative errno. */
int db_fault_sqlite(const struct db_fault *f, sqlite3 *db);

/* db_name returns path in a form that SQLite takes for a file name and nothing else (not for
 * ":memory:", nor for a URI); sqlite3_free() it. */
char *db_name(const char *path);

/* db_memory makes the writable in-memory database behind db_open_image: the virtual tables of an
 * image and live.sql. */
int db_memory(const struct db_fault *f, const struct image *im, sqlite3 **ret);

/* db_create_views makes the v1_* views over the tables that are there; returns an SQLite error
 * code. */
int db_create_views(sqlite3 *db);

/* db_verify checks that a handle is open on a snapshot file of a version that we read.  schema is
 * the name of the attached database. */
int db_verify(const struct db_fault *f, sqlite3 *db, const char *schema);

/* db_upgrade brings the snapshot file f->path up to our version, if it is older, in one
 * transaction.
 */
int db_upgrade(const struct db_fault *f);

/* db_integer runs a query of one integer; missing if there is no row, or it fails. */
int64_t db_integer(sqlite3 *db, const char *sql, int64_t missing);

/* db_create_beside makes an empty snapshot file with a temporary name beside path; *ret_temp is its
 * name, to be freed, *ret_lock a descriptor that shows it is in use, to be closed at the end.
 * db_rename puts it into path's place, durably.  db_remove_litter deletes those of programs that
 * were killed. */
int db_create_beside(const struct db_fault *f, char **ret_temp, int *ret_lock);
void db_remove_litter(const char *path);
int db_rename(const struct db_fault *f, const char *temp);

/* db_copy copies the image, which db was made of, into the attached database `target`, in which
 * the image is not yet.  0 or an SQLite error code. */
int db_copy(sqlite3 *db, const struct image *im, enum db_objects objects, int64_t *ret_snapshot);

/* db_prune_rows, before db_copy, deletes the rows of the oldest snapshots of `target`, so many that
 * `keep` are left with the one to come (0: none); *ret_gone is their number.  db_prune_rest, after
 * it, deletes those snapshots and what only they used.  0 or an SQLite error code. */
int db_prune_rows(sqlite3 *db, int64_t keep, int64_t *ret_gone);
int db_prune_rest(sqlite3 *db, int64_t gone);

/* db_copy_objects copies the objects of the image, after everything else. */
int db_copy_objects(sqlite3 *db, enum db_objects objects, int64_t snapshot);

/* db_copy_stacks interns its frames, symbols and stacks, and leaves the table import_stack(stack,
 * stack_id) in db. */
int db_copy_stacks(sqlite3 *db, const struct image *im);

#endif
