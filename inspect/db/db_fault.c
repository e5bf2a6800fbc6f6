/* SPDX-License-Identifier: BSD-3-Clause
 *
 * SQLite's failures as one line for people and one negative errno for programs.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "db/db_private.h"

int db_fault(const struct db_fault *f, int code, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    if (f->errlen)
        snprintf(f->err, f->errlen, "%s: %s", f->path, text);
    return code;
}

/* SQLITE_CANTOPEN, SQLITE_IOERR: the system's error says more than SQLite's. */
static int system_fault(const struct db_fault *f, sqlite3 *db, const char *doing) {
    int err = sqlite3_system_errno(db);
    if (err == ENOSPC || err == EDQUOT)
        return db_fault(f, -ENOSPC, "no space left on the device; nothing was changed");
    if (err == EACCES || err == EPERM || err == EROFS)
        return db_fault(f, -err, "%s: %s (the directory must be writable, too)", doing,
                        strerror(err));
    if (err)
        return db_fault(f, -err, "%s: %s", doing, strerror(err));
    return db_fault(f, -EIO, "%s: %s", doing, sqlite3_errmsg(db));
}

int db_fault_sqlite(const struct db_fault *f, sqlite3 *db) {
    switch (db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM) {
    case SQLITE_NOMEM:
        return db_fault(f, -ENOMEM, "not enough memory");
    case SQLITE_FULL:
        return db_fault(f, -ENOSPC, "no space left on the device; nothing was changed");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return db_fault(f, IMAGE_DAMAGED, "is damaged or not a database: %s", sqlite3_errmsg(db));
    case SQLITE_CONSTRAINT:
        return db_fault(f, IMAGE_DAMAGED, "the image contradicts itself: %s", sqlite3_errmsg(db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return db_fault(f, -EBUSY, "is in use by another program; try again");
    case SQLITE_READONLY:
        return db_fault(f, -EACCES, "cannot write to it: it or its directory is read-only");
    case SQLITE_PERM:
        return db_fault(f, -EACCES, "%s", sqlite3_errmsg(db));
    case SQLITE_INTERRUPT:
        return db_fault(f, -EINTR, "interrupted; nothing was changed");
    case SQLITE_CANTOPEN:
        return system_fault(f, db, "cannot open it");
    case SQLITE_IOERR:
        return system_fault(f, db, "cannot read or write it");
    default:
        return db_fault(f, -EIO, "%s", sqlite3_errmsg(db));
    }
}

char *db_name(const char *path) {
    return sqlite3_mprintf("%s%s", path[0] == '/' || path[0] == '.' ? "" : "./", path);
}
