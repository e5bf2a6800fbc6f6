/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Interning call stacks in a snapshot file.
 *
 * frame, symbol and stack are shared by all snapshots: a frame is known by its module, build-id and
 * offset there, a stack by its innermost frame and its caller's stack.  So the stack trie of an
 * image is walked once, parents first (a parent's number is always the smaller one), and each node
 * finds its stack_id or gets a new one.  That is what makes sites of different snapshots, and of
 * different processes of one program, comparable.
 */
#include <stdlib.h>

#include "db/db_private.h"

struct interning {
    sqlite3 *db;
    sqlite3_stmt *find;   /* (parent, frame) -> stack_id, caller_id */
    sqlite3_stmt *insert; /* (stack_id, parent, frame, depth, caller) */
    sqlite3_stmt *note;   /* import_stack (stack, stack_id) */
    int64_t next;         /* stack_id to give next */
    int64_t *ids;         /* stack_id of node n */
    int64_t *callers;     /* caller_id of node n */
};

static const char frames_sql[] =
    "INSERT OR IGNORE INTO target.frame (module, build_id, module_offset)"
    " SELECT module, build_id, module_offset FROM image_code WHERE code > 0;"
    "CREATE TABLE import_code (code INTEGER PRIMARY KEY, frame_id INTEGER NOT NULL);"
    "INSERT INTO import_code SELECT c.code, f.frame_id FROM image_code c CROSS JOIN target.frame f"
    " ON f.module = c.module AND f.build_id = c.build_id AND f.module_offset = c.module_offset"
    " WHERE c.code > 0;"
    "CREATE TABLE import_new (code INTEGER PRIMARY KEY, frame_id INTEGER NOT NULL);"
    "INSERT INTO import_new SELECT code, frame_id FROM import_code i"
    " WHERE NOT EXISTS (SELECT 1 FROM target.symbol s WHERE s.frame_id = i.frame_id);"
    "INSERT OR IGNORE INTO target.symbol"
    " SELECT n.frame_id, s.inline_depth, s.function, s.file, s.line, s.inlined, s.allocator,"
    " s.col"
    " FROM import_new n CROSS JOIN image_symbol s ON s.code = n.code;"
    "CREATE TABLE import_stack (stack INTEGER PRIMARY KEY, stack_id INTEGER NOT NULL);";

/* Nodes in ascending order, with the frame of each and whether all functions of it belong to the
 * allocator. */
static const char nodes_sql[] =
    "SELECT k.stack, k.parent, k.depth, i.frame_id,"
    " coalesce((SELECT min(s.allocator) FROM target.symbol s WHERE s.frame_id = i.frame_id), 0)"
    " FROM image_stack k CROSS JOIN import_code i ON i.code = k.code";

static int64_t insert_stack(struct interning *n, int64_t parent, int64_t frame, int64_t depth,
                            int64_t caller) {
    int64_t id = n->next++;
    sqlite3_bind_int64(n->insert, 1, id);
    sqlite3_bind_int64(n->insert, 2, parent);
    sqlite3_bind_int64(n->insert, 3, frame);
    sqlite3_bind_int64(n->insert, 4, depth);
    sqlite3_bind_int64(n->insert, 5, caller < 0 ? id : caller);
    sqlite3_step(n->insert);
    return sqlite3_reset(n->insert) == SQLITE_OK ? id : -1;
}

/* intern finds or makes the stack of the node that `nodes` stands on. */
static int intern(struct interning *n, sqlite3_stmt *nodes) {
    int64_t node = sqlite3_column_int64(nodes, 0);
    int64_t outer = sqlite3_column_int64(nodes, 1);
    int64_t frame = sqlite3_column_int64(nodes, 3);
    bool allocator = sqlite3_column_int(nodes, 4);
    sqlite3_bind_int64(n->find, 1, n->ids[outer]);
    sqlite3_bind_int64(n->find, 2, frame);
    if (sqlite3_step(n->find) == SQLITE_ROW) {
        n->ids[node] = sqlite3_column_int64(n->find, 0);
        n->callers[node] = sqlite3_column_int64(n->find, 1);
    } else {
        int64_t caller = allocator ? n->callers[outer] : -1;
        n->ids[node] =
            insert_stack(n, n->ids[outer], frame, sqlite3_column_int64(nodes, 2), caller);
        n->callers[node] = caller < 0 ? n->ids[node] : caller;
    }
    sqlite3_reset(n->find);
    if (n->ids[node] < 0)
        return sqlite3_errcode(n->db);
    sqlite3_bind_int64(n->note, 1, node);
    sqlite3_bind_int64(n->note, 2, n->ids[node]);
    sqlite3_step(n->note);
    return sqlite3_reset(n->note);
}

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret) {
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
}

static int intern_all(struct interning *n) {
    sqlite3_stmt *nodes = NULL;
    int rc = prepare(n->db, nodes_sql, &nodes);
    while (rc == SQLITE_OK) {
        rc = sqlite3_step(nodes);
        if (rc == SQLITE_ROW)
            rc = intern(n, nodes);
    }
    sqlite3_finalize(nodes);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int begin(struct interning *n, size_t nframes) {
    n->ids = calloc(nframes + 1, sizeof *n->ids);
    n->callers = calloc(nframes + 1, sizeof *n->callers);
    if (!n->ids || !n->callers)
        return SQLITE_NOMEM;
    n->next = db_integer(n->db, "SELECT max(stack_id) + 1 FROM target.stack", 1);
    int rc = prepare(n->db,
                     "SELECT stack_id, caller_id FROM target.stack"
                     " WHERE parent_id = ? AND frame_id = ?",
                     &n->find);
    if (rc == SQLITE_OK)
        rc = prepare(n->db, "INSERT INTO target.stack VALUES (?, ?, ?, ?, ?)", &n->insert);
    if (rc == SQLITE_OK)
        rc = prepare(n->db, "INSERT INTO import_stack VALUES (?, ?)", &n->note);
    return rc;
}

int db_copy_stacks(sqlite3 *db, const struct image *im) {
    struct interning n = {.db = db};
    size_t nframes;
    image_section(im, GOMALLOC_SECTION_FRAME, &nframes);
    int rc = sqlite3_exec(db, frames_sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = begin(&n, nframes);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "INSERT INTO import_stack VALUES (0, 0)", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = intern_all(&n);
    sqlite3_finalize(n.find);
    sqlite3_finalize(n.insert);
    sqlite3_finalize(n.note);
    free(n.ids);
    free(n.callers);
    return rc;
}
