/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Snapshot files of older versions.
 *
 * They are read as they are: what their views do not have yet, the verbs say.  The first import
 * into one makes it a file of ours: the tables that it lacks are added, empty for the snapshots
 * that it has, and its views are replaced, which hold nothing.
 */
#include <stdlib.h>

#include "db/db_private.h"
#include "schema_sql.h"

#define BUSY_MS          10000
#define STRINGIFY(x)     #x
#define STRING(x)        STRINGIFY(x)
#define SET_USER_VERSION "PRAGMA user_version = " STRING(DB_USER_VERSION)

/* drop_views returns an SQLite error code. */
static int drop_views(sqlite3 *db) {
    static const char list[] = "SELECT printf('DROP VIEW \"%w\"', name) FROM sqlite_schema"
                               " WHERE type = 'view'";
    sqlite3_stmt *s = NULL;
    sqlite3_str *drops = sqlite3_str_new(db);
    int rc = sqlite3_prepare_v2(db, list, -1, &s, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        sqlite3_str_appendf(drops, "%s;", sqlite3_column_text(s, 0));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(s);
    char *sql = sqlite3_str_finish(drops);
    if (rc == SQLITE_DONE)
        rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_OK;
    sqlite3_free(sql);
    return rc;
}

/* Which objects were stored was not told, but is seen where there are any. */
static const char stored_objects_sql[] =
    "ALTER TABLE snapshot ADD COLUMN stored_objects TEXT"
    " CHECK (stored_objects IN ('all', 'recorded', 'sample', 'leaked', 'none'));"
    "ALTER TABLE object ADD COLUMN weight REAL NOT NULL DEFAULT 1 CHECK (weight >= 1);"
    "UPDATE snapshot SET stored_objects ="
    " CASE WHEN EXISTS (SELECT 1 FROM object o WHERE o.snapshot_id = snapshot.snapshot_id"
    "  AND o.site_id = 0) THEN 'all'"
    " WHEN EXISTS (SELECT 1 FROM object o WHERE o.snapshot_id = snapshot.snapshot_id)"
    "  THEN 'recorded' END;"
    "UPDATE object SET weight = coalesce((SELECT l.weight FROM site_live l"
    "  WHERE l.snapshot_id = object.snapshot_id AND l.site_id = object.site_id"
    "  AND l.given = object.given AND l.requested IS object.requested), 1)"
    " WHERE snapshot_id IN (SELECT snapshot_id FROM snapshot"
    "  WHERE rate > 1 AND stored_objects = 'recorded')";

/* What each version lacks of the one that followed it, as far as tables go. */
static const struct {
    int64_t version;
    const char *sql;
} lacking[] = {
    {1, schema_tables_heap_sql},     {2, schema_tables_escape_sql},
    {2, schema_tables_leak_sql},     {2, schema_tables_pins_sql},
    {2, schema_tables_resident_sql}, {2, schema_tables_fragmentation_sql},
    {2, schema_tables_crash_sql},    {2, "ALTER TABLE symbol ADD COLUMN col INTEGER"},
    {2, stored_objects_sql},
};

/* upgrade_from does its work within a transaction; returns an SQLite error code. */
static int upgrade_from(sqlite3 *db, int64_t version) {
    int rc = drop_views(db);
    for (size_t i = 0; i < sizeof lacking / sizeof lacking[0] && rc == SQLITE_OK; i++)
        if (lacking[i].version >= version)
            rc = sqlite3_exec(db, lacking[i].sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = db_create_views(db);
    return rc == SQLITE_OK ? sqlite3_exec(db, SET_USER_VERSION, NULL, NULL, NULL) : rc;
}

static int64_t user_version(sqlite3 *db) {
    return db_integer(db, "PRAGMA user_version", DB_USER_VERSION);
}

static int upgrade(const struct db_fault *f, sqlite3 *db) {
    int rc = db_verify(f, db, "main");
    if (rc)
        return rc;
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return db_fault_sqlite(f, db);
    /* Asked again: another program may have been faster. */
    int64_t version = user_version(db);
    if ((version == DB_USER_VERSION || upgrade_from(db, version) == SQLITE_OK) &&
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    rc = db_fault_sqlite(f, db);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int db_upgrade(const struct db_fault *f) {
    sqlite3 *db = NULL;
    char *name = db_name(f->path);
    int rc = 0;
    if (!name || sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        rc = db_fault_sqlite(f, db);
    } else {
        sqlite3_busy_timeout(db, BUSY_MS);
        if (user_version(db) < DB_USER_VERSION)
            rc = upgrade(f, db);
    }
    sqlite3_close(db);
    sqlite3_free(name);
    return rc;
}
