/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a snapshot file is written so that it is whole or not there.
 *
 * A new file is made beside its place under a temporary name, synced, and then linked or renamed
 * into place.  An existing file is changed in one transaction with a rollback journal: a crash or a
 * full disk leaves, after the rollback that the next reader does, what was there before.  In both
 * cases there is never a half-written file under the final name.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_private.h"
#include "schema_sql.h"

#define STRINGIFY(x) #x
#define STRING(x)    STRINGIFY(x)

static int sync_path(const char *path, int flags) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) ? -errno : 0;
    close(fd);
    return rc;
}

/* Like a file that open(2) makes, not like one of mkstemp(3). */
static void usual_mode(int fd) {
    mode_t mask = umask(0);
    umask(mask);
    (void)!fchmod(fd, 0666 & ~mask);
}

static int create_schema(const struct db_fault *f, const char *temp) {
    static const char *const texts[] = {
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA auto_vacuum = INCREMENTAL;"
        "PRAGMA application_id = " STRING(DB_APPLICATION_ID) ";"
                                                             "PRAGMA user_version = " STRING(
                                                                 DB_USER_VERSION) "; BEGIN",
        schema_tables_sql,
        schema_tables_heap_sql,
        schema_tables_escape_sql,
        schema_tables_leak_sql,
        schema_tables_pins_sql,
        schema_tables_resident_sql,
        schema_tables_fragmentation_sql,
        schema_tables_crash_sql,
        schema_views_sql,
        schema_views_heap_sql,
        schema_views_escape_sql,
        schema_views_history_sql,
        schema_views_diff_sql,
        schema_views_leak_sql,
        schema_views_pins_sql,
        schema_views_resident_sql,
        schema_views_fragmentation_sql,
        schema_views_crash_sql,
        "COMMIT"};
    sqlite3 *db = NULL;
    char *name = db_name(temp);
    int rc = name ? sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL) : SQLITE_NOMEM;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && rc == SQLITE_OK; i++)
        rc = sqlite3_exec(db, texts[i], NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        rc = db_fault_sqlite(f, db);
    sqlite3_close(db);
    sqlite3_free(name);
    return rc;
}

int db_create_beside(const struct db_fault *f, char **ret_temp) {
    char *temp;
    if (asprintf(&temp, "%s.tmp.XXXXXX", f->path) < 0)
        return db_fault(f, -ENOMEM, "not enough memory");
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        int err = errno;
        free(temp);
        return db_fault(f, -err, "cannot create a file beside it: %s", strerror(err));
    }
    usual_mode(fd);
    close(fd);
    int rc = create_schema(f, temp);
    if (rc) {
        unlink(temp);
        free(temp);
        return rc;
    }
    *ret_temp = temp;
    return 0;
}

static void sync_directory(const char *path) {
    char *copy = strdup(path);
    if (copy)
        (void)sync_path(dirname(copy), O_DIRECTORY); /* not every file system can */
    free(copy);
}

/* db_rename returns -EEXIST if a file that is not empty has appeared at path meanwhile. */
int db_rename(const struct db_fault *f, const char *temp) {
    struct stat st;
    int rc = sync_path(temp, 0);
    if (rc)
        return db_fault(f, rc, "cannot write it: %s", strerror(-rc));
    bool empty = stat(f->path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
    unsigned flags = empty ? 0 : RENAME_NOREPLACE;
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, f->path, flags) == 0) {
        sync_directory(f->path);
        return 0;
    }
    rc = -errno;
    /* File systems without RENAME_NOREPLACE (some network ones) say EINVAL. */
    if (rc == -EINVAL && link(temp, f->path) == 0) {
        unlink(temp);
        sync_directory(f->path);
        return 0;
    }
    return db_fault(f, rc, "cannot put it in place: %s", strerror(-rc));
}
