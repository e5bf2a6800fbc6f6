/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening databases for queries: in memory over an image, or a snapshot file.  See db.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/code.h"
#include "db/callers.h"
#include "db/db_private.h"
#include "image/pins.h"
#include "schema_sql.h"
#include "image/site_live.h"
#include "db/vtab.h"

#define BUSY_MS 10000 /* how long to wait for another program's transaction */
#define LEAST_PAGE                                                                                 \
    512 /* bytes of SQLite's smallest page, the first of which begins with a header */

static const char sqlite_magic[16] = "SQLite format 3";

/* What the virtual tables of one in-memory database read from. */
struct world {
    struct vtab_world vtab;
    struct site_live *site_live;
    struct pins *pins;
};

static void world_free(void *p) {
    struct world *w = p;
    code_free(w->vtab.code);
    site_live_free(w->site_live);
    pins_free(w->pins);
    free(w);
}

static struct world *world_new(const struct image *im) {
    struct world *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->vtab = (struct vtab_world){im, code_new(im), &w->site_live, &w->pins};
    if (!w->vtab.code) {
        free(w);
        return NULL;
    }
    return w;
}

static void version_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc, (void)argv;
    sqlite3_result_int(ctx, DB_USER_VERSION);
}

/* The handle owns its world by way of a function's destructor, the only hook that SQLite 3.40 has
 * for data of a handle. */
static int own_world(sqlite3 *db, struct world *w) {
    return sqlite3_create_function_v2(db, "gomalloc_schema_version", 0,
                                      SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, w,
                                      version_function, NULL, NULL, world_free);
}

/* make_tables makes everything that the in-memory database consists of, but for the v1 views. */
static int make_tables(sqlite3 *db, const struct image *im) {
    struct world *w = world_new(im);
    if (!w)
        return SQLITE_NOMEM;
    int rc = own_world(db, w); /* frees it when it fails */
    if (rc == SQLITE_OK)
        rc = vtab_create_all(db, &w->vtab);
    if (rc == SQLITE_OK)
        rc = callers_create(db, w->vtab.code);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, schema_live_sql, NULL, NULL, NULL);
    return rc;
}

int db_memory(const struct db_fault *f, const struct image *im, sqlite3 **ret) {
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc == SQLITE_OK)
        rc = make_tables(db, im);
    if (rc != SQLITE_OK) {
        rc = db_fault_sqlite(f, rc == SQLITE_NOMEM ? NULL : db);
        sqlite3_close(db);
        return rc;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    *ret = db;
    return 0;
}

int db_create_views(sqlite3 *db) {
    static const char *const texts[] = {
        schema_views_sql,         schema_views_heap_sql,     schema_views_escape_sql,
        schema_views_history_sql, schema_views_diff_sql,     schema_views_leak_sql,
        schema_views_pins_sql,    schema_views_resident_sql, schema_views_fragmentation_sql,
        schema_views_crash_sql,
    };
    int rc = SQLITE_OK;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && rc == SQLITE_OK; i++)
        rc = sqlite3_exec(db, texts[i], NULL, NULL, NULL);
    return rc;
}

int db_open_image(const struct image *im, sqlite3 **ret, char *err, size_t errlen) {
    const struct db_fault f = {"image", err, errlen};
    sqlite3 *db = NULL;
    int rc = db_memory(&f, im, &db);
    if (rc)
        return rc;
    if (db_create_views(db) != SQLITE_OK || db_restrict(db) != SQLITE_OK) {
        rc = db_fault_sqlite(&f, db);
        sqlite3_close(db);
        return rc;
    }
    *ret = db;
    return 0;
}

/* Reading only. */

static bool pragma_reads(const char *name, const char *argument) {
    static const char *const with_argument[] = {
        "table_info",       "table_xinfo", "index_list",      "index_info",  "index_xinfo",
        "foreign_key_list", "table_list",  "integrity_check", "quick_check", "foreign_key_check"};
    static const char *const without[] = {
        "application_id", "user_version",    "schema_version", "page_count",   "page_size",
        "database_list",  "compile_options", "function_list",  "pragma_list",  "module_list",
        "collation_list", "encoding",        "freelist_count", "journal_mode", "query_only"};
    for (size_t i = 0; i < sizeof with_argument / sizeof with_argument[0]; i++)
        if (sqlite3_stricmp(name, with_argument[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof without / sizeof without[0] && !argument; i++)
        if (sqlite3_stricmp(name, without[i]) == 0)
            return true;
    return false;
}

static int authorize(void *aux, int action, const char *a, const char *b, const char *schema,
                     const char *trigger) {
    (void)aux, (void)schema, (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return b && sqlite3_stricmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_UPDATE:
        /* What SQLite does in name only when it first meets a table-valued function (json_each,
         * pragma_table_info).  A user's own UPDATE of it is refused elsewhere (DEFENSIVE). */
        return sqlite3_stricmp(a, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
        return pragma_reads(a, b) ? SQLITE_OK : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

int db_restrict(sqlite3 *db) {
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int rc =
        sqlite3_exec(db, "PRAGMA temp_store = MEMORY; PRAGMA query_only = 1", NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_set_authorizer(db, authorize, NULL) : rc;
}

/* Snapshot files. */

int64_t db_integer(sqlite3 *db, const char *sql, int64_t missing) {
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
        return missing;
    int64_t value = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : missing;
    sqlite3_finalize(s);
    return value;
}

static int64_t pragma(sqlite3 *db, const char *schema, const char *name) {
    char *sql = sqlite3_mprintf("PRAGMA \"%w\".%s", schema, name);
    int64_t value = sql ? db_integer(db, sql, -1) : -1;
    sqlite3_free(sql);
    return value;
}

/* readable runs a query over the main views, so that a file whose schema is cut off is noticed now
 * and not in the middle of a report. */
static int readable(const struct db_fault *f, sqlite3 *db, const char *schema) {
    char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".v1_snapshot LIMIT 1", schema);
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (rc == SQLITE_ERROR)
        return db_fault(f, IMAGE_DAMAGED, "is damaged: %s", sqlite3_errmsg(db));
    return rc == SQLITE_OK ? 0 : db_fault_sqlite(f, db);
}

/* within_header: a file that ends so early has no application_id, nor anything that tells of whom
 * it is. */
static bool within_header(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0 && st.st_size < LEAST_PAGE;
}

int db_verify(const struct db_fault *f, sqlite3 *db, const char *schema) {
    int64_t application = pragma(db, schema, "application_id");
    if (sqlite3_errcode(db) != SQLITE_OK && sqlite3_errcode(db) != SQLITE_DONE)
        return db_fault_sqlite(f, db);
    int64_t version = pragma(db, schema, "user_version");
    if (application != DB_APPLICATION_ID && within_header(f->path))
        return db_fault(f, IMAGE_DAMAGED, "is damaged or not a database: cut short");
    if (application != DB_APPLICATION_ID)
        return db_fault(f, IMAGE_VERSION,
                        "is a database of another application (application_id 0x%llx)",
                        (unsigned long long)(uint32_t)application);
    if (version < DB_OLDEST_VERSION || version > DB_USER_VERSION)
        return db_fault(f, IMAGE_VERSION,
                        "is a snapshot file of version %lld, this program reads version %d",
                        (long long)version, DB_USER_VERSION);
    return readable(f, db, schema);
}

static int check_file(const struct db_fault *f) {
    struct stat st;
    if (stat(f->path, &st))
        return db_fault(f, -errno, "%s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return db_fault(f, -EISDIR, "is a directory, not a snapshot file");
    if (!S_ISREG(st.st_mode))
        return db_fault(f, IMAGE_DAMAGED, "is not a regular file");
    if (st.st_size == 0)
        return db_fault(f, IMAGE_DAMAGED, "is empty, not a snapshot file");
    if (access(f->path, R_OK))
        return db_fault(f, -errno, "%s", strerror(errno));
    return 0;
}

/* check_length notices a file that was cut within its last page, which SQLite takes for whole as
 * long as nobody reads that page.  What a killed import left has been rolled back by now. */
static int check_length(const struct db_fault *f, sqlite3 *db) {
    struct stat st;
    int64_t page = pragma(db, "main", "page_size");
    if (page > 0 && stat(f->path, &st) == 0 && st.st_size % page != 0)
        return db_fault(f, IMAGE_DAMAGED, "is damaged: cut short");
    return 0;
}

int db_open_file(const char *path, sqlite3 **ret, char *err, size_t errlen) {
    const struct db_fault f = {path, err, errlen};
    sqlite3 *db = NULL;
    int rc = check_file(&f);
    if (rc)
        return rc;
    char *name = db_name(path);
    /* Writable if it may be: what a killed import left half-done is rolled back first. */
    if (!name || sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        rc = db_fault_sqlite(&f, db);
    } else {
        sqlite3_busy_timeout(db, BUSY_MS);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        rc = db_verify(&f, db, "main");
        if (!rc)
            rc = check_length(&f, db);
        if (!rc && (callers_create(db, NULL) != SQLITE_OK || db_restrict(db) != SQLITE_OK))
            rc = db_fault_sqlite(&f, db);
    }
    sqlite3_free(name);
    if (rc)
        sqlite3_close(db);
    else
        *ret = db;
    return rc;
}

bool db_is_database(const char *path) {
    char magic[sizeof sqlite_magic];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, magic, sizeof magic);
    close(fd);
    return n == 0 || (n > 0 && memcmp(magic, sqlite_magic, (size_t)n) == 0);
}

void db_close(sqlite3 *db) {
    while (db && sqlite3_next_stmt(db, NULL)) /* that of callers() */
        sqlite3_finalize(sqlite3_next_stmt(db, NULL));
    sqlite3_close_v2(db);
}

int64_t db_latest_snapshot(sqlite3 *db) {
    return db_integer(db,
                      "SELECT snapshot_id FROM snapshot "
                      "ORDER BY captured_ns DESC, snapshot_id DESC LIMIT 1",
                      0);
}
