/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a snapshot file is written so that it is whole or not there.
 *
 * A new file is made beside its place under a temporary name, synced, and then linked or renamed
 * into place.  An existing file is changed in one transaction with a rollback journal: a crash or a
 * full disk leaves, after the rollback that the next reader does, what was there before.  In both
 * cases there is never a half-written file under the final name.  A temporary file that a killed
 * program has left is deleted by the next import into the same file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_private.h"
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
    };
    sqlite3 *db = NULL;
    char *name = db_name(temp);
    int rc = name ? sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL) : SQLITE_NOMEM;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && rc == SQLITE_OK; i++)
        rc = sqlite3_exec(db, texts[i], NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = db_create_views(db);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        rc = db_fault_sqlite(f, db);
    sqlite3_close(db);
    sqlite3_free(name);
    return rc;
}

/* ---- a temporary file ---------------------------------------------------------------------- */

#define TEMPORARY ".tmp."
#define RANDOM    6 /* characters behind it */

/* Whoever makes one keeps it locked (flock, which has nothing to do with SQLite's locks) until it
 * has its name or is deleted.  So one that can be locked is of a program that was killed. */
static void remove_stale(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlink(path);
    if (fd >= 0)
        close(fd);
}

/* is_temporary tells whether a file's name is that of a temporary one of the file `base`. */
static bool is_temporary(const char *name, const char *base) {
    size_t n = strlen(base), m = strlen(TEMPORARY);
    return strncmp(name, base, n) == 0 && strncmp(name + n, TEMPORARY, m) == 0 &&
           strlen(name + n + m) == RANDOM;
}

void db_remove_litter(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
    DIR *dir = folder ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *name = NULL;
        if (is_temporary(e->d_name, slash ? slash + 1 : path) &&
            asprintf(&name, "%s%s", folder, e->d_name) >= 0) {
            remove_stale(name);
            free(name);
        }
    }
    if (dir)
        closedir(dir);
    free(folder);
}

/* make_temporary makes and locks one; *ret_temp is its name, to be freed.  0 or a negative errno.
 */
static int make_temporary(const char *path, char **ret_temp, int *ret_fd) {
    for (;;) {
        struct stat st;
        if (asprintf(ret_temp, "%s" TEMPORARY "XXXXXX", path) < 0)
            return -ENOMEM;
        *ret_fd = mkostemp(*ret_temp, O_CLOEXEC);
        int error = *ret_fd < 0 ? -errno : 0;
        if (!error && flock(*ret_fd, LOCK_EX) == 0 && fstat(*ret_fd, &st) == 0 && st.st_nlink != 0)
            return 0;
        free(*ret_temp);
        if (error)
            return error;
        close(*ret_fd); /* another program took it for litter, before it was locked */
    }
}

int db_create_beside(const struct db_fault *f, char **ret_temp, int *ret_lock) {
    int fd, error = make_temporary(f->path, ret_temp, &fd);
    if (error)
        return error == -ENOMEM ? db_fault(f, error, "not enough memory")
               : error == -ENOENT
                   ? db_fault(f, error, "there is no such directory to write it to")
                   : db_fault(f, error, "cannot create a file beside it: %s", strerror(-error));
    usual_mode(fd);
    int rc = create_schema(f, *ret_temp);
    if (rc) {
        unlink(*ret_temp);
        free(*ret_temp);
        close(fd);
        return rc;
    }
    *ret_lock = fd;
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
