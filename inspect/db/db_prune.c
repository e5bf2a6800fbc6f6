/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Letting the oldest snapshots of a file go, in the transaction that adds a new one.
 *
 * Two steps, around the copying of the new snapshot:
 *
 *      db_prune_rows    before it: deletes the rows of the snapshots that are to go, so that the
 * new ones are put into the pages that become free, and the file does not grow db_prune_rest after
 * it: deletes the snapshots themselves, and of what snapshots share (stack, frame, symbol, process)
 * what none refers to any more
 *
 * The shared rows wait for the new snapshot, which refers to most of them: so a call stack keeps
 * its stack_id as long as a snapshot of the file has it.  Snapshots wait, lest a snapshot_id is
 * used twice.  Which tables belong to a snapshot is asked of the file: those with a column
 * snapshot_id.
 *
 * Pages that stay free are used by the next snapshot.  Where they are many, for instance behind a
 * snapshot with a row for every object, the file is made shorter, if it was made by a version that
 * prepared it for that (auto_vacuum): the pages at its end move into the holes.
 */
#include "db/db_private.h"

#define MOST_FREE 4 /* a file of which more than 1/4 is free is made shorter */
#define LEFT_FREE 8 /* until 1/8 is */

static const char choose_sql[] = "CREATE TABLE prune_snapshot (snapshot_id INTEGER PRIMARY KEY);"
                                 "CREATE TABLE prune_stack (stack_id INTEGER PRIMARY KEY);";

/* ?1: how many stay. */
static const char victims_sql[] =
    "INSERT INTO prune_snapshot SELECT snapshot_id FROM target.snapshot"
    " ORDER BY captured_ns DESC, snapshot_id DESC LIMIT -1 OFFSET ?1";

static const char stacks_sql[] = "INSERT INTO prune_stack SELECT stack_id FROM target.site"
                                 " WHERE snapshot_id IN (SELECT snapshot_id FROM prune_snapshot)"
                                 " UNION SELECT stack_id FROM target.crash"
                                 " WHERE snapshot_id IN (SELECT snapshot_id FROM prune_snapshot)";

static const char tables_sql[] =
    "SELECT printf('DELETE FROM target.\"%w\" WHERE snapshot_id IN"
    " (SELECT snapshot_id FROM prune_snapshot)', m.name)"
    " FROM target.sqlite_schema m JOIN pragma_table_info(m.name, 'target') c"
    " WHERE m.type = 'table' AND c.name = 'snapshot_id' AND m.name <> 'snapshot'";

/* A stack's callers are used with it; caller_id is one of them. */
static const char rest_sql[] =
    "DELETE FROM target.stack WHERE stack_id NOT IN ("
    " WITH RECURSIVE used (stack_id) AS ("
    "  SELECT stack_id FROM target.site UNION SELECT stack_id FROM target.crash"
    "  UNION SELECT 0 UNION"
    "  SELECT k.parent_id FROM used JOIN target.stack k USING (stack_id)"
    "  WHERE k.parent_id IS NOT NULL)"
    " SELECT stack_id FROM used);"
    "DELETE FROM target.symbol WHERE frame_id NOT IN (SELECT frame_id FROM target.stack);"
    "DELETE FROM target.frame WHERE frame_id NOT IN (SELECT frame_id FROM target.stack);";

static const char snapshots_sql[] =
    "DELETE FROM target.snapshot WHERE snapshot_id IN (SELECT snapshot_id FROM prune_snapshot);"
    "DELETE FROM target.process WHERE process_id NOT IN (SELECT process_id FROM target.snapshot);"
    "DELETE FROM prune_stack WHERE stack_id IN (SELECT stack_id FROM target.site)"
    " OR stack_id IN (SELECT stack_id FROM target.crash)";

static int choose(sqlite3 *db, int64_t keep) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_exec(db, choose_sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, victims_sql, -1, &s, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(s, 1, keep - 1); /* and the new one */
        sqlite3_step(s);
    }
    int end = sqlite3_finalize(s);
    return rc != SQLITE_OK ? rc : end;
}

/* delete_rows deletes what belongs to the chosen snapshots alone. */
static int delete_rows(sqlite3 *db) {
    sqlite3_stmt *s = NULL;
    sqlite3_str *deletes = sqlite3_str_new(db);
    int rc = sqlite3_prepare_v2(db, tables_sql, -1, &s, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        sqlite3_str_appendf(deletes, "%s;", sqlite3_column_text(s, 0));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(s);
    char *sql = sqlite3_str_finish(deletes);
    if (rc == SQLITE_DONE)
        rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

int db_prune_rows(sqlite3 *db, int64_t keep, int64_t *ret_gone) {
    *ret_gone = 0;
    if (keep <= 0)
        return SQLITE_OK;
    int rc = choose(db, keep);
    if (rc != SQLITE_OK)
        return rc;
    *ret_gone = db_integer(db, "SELECT count(*) FROM prune_snapshot", 0);
    if (*ret_gone == 0)
        return SQLITE_OK;
    rc = sqlite3_exec(db, stacks_sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? delete_rows(db) : rc;
}

/* make_shorter gives back pages at the file's end. */
static int make_shorter(sqlite3 *db) {
    int64_t free_pages = db_integer(db, "PRAGMA target.freelist_count", 0);
    int64_t pages = db_integer(db, "PRAGMA target.page_count", 0);
    if (free_pages * MOST_FREE <= pages || db_integer(db, "PRAGMA target.auto_vacuum", 0) != 2)
        return SQLITE_OK;
    char *sql = sqlite3_mprintf("PRAGMA target.incremental_vacuum(%lld)",
                                (long long)(free_pages - (pages - free_pages) / (LEFT_FREE - 1)));
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

int db_prune_rest(sqlite3 *db, int64_t gone) {
    if (gone == 0)
        return SQLITE_OK;
    int rc = sqlite3_exec(db, snapshots_sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK && db_integer(db, "SELECT count(*) FROM prune_stack", 0) != 0)
        rc = sqlite3_exec(db, rest_sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? make_shorter(db) : rc;
}
