/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Importing an image into a snapshot file.
 *
 * The image is opened as the in-memory database that queries see (db_memory), the file is attached
 * to it as `target`, and each table is one INSERT ... SELECT from the view of the same name: what a
 * live process shows and what its snapshot holds can't differ.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_private.h"
#include "db/vtab.h"

struct import {
    struct db_fault fault;
    const struct image *im;
    enum db_objects objects;
    int64_t keep; /* snapshots; 0: all */
    sqlite3 *db;  /* over the image, the file attached */
    struct db_import_result result;
};

static const char process_sql[] =
    "INSERT OR IGNORE INTO target.process (boot_id, pid, start_ticks, host)"
    " SELECT boot_id, pid, start_ticks, host FROM main.process";

static const char snapshot_sql[] =
    "INSERT INTO target.snapshot"
    " SELECT NULL, (SELECT process_id FROM target.process t WHERE t.boot_id = p.boot_id"
    "  AND t.pid = p.pid AND t.start_ticks = p.start_ticks), image_id, captured_ns,"
    " capture_time_ns, live, at_exit, partial, cut, ppid, uid, nthreads, start_ns, forked_ns, rate,"
    " exact_since_ns, rss_bytes, page_size, os_page_size, comm, exe, cmdline, library_version,"
    " unwinder, ?1 FROM main.snapshot s CROSS JOIN main.process p";

/* Each takes the new snapshot_id as ?1. */
static const char *const table_sql[] = {
    "INSERT INTO target.thread SELECT ?1, mcache, tid, comm, cached_bytes, nspans"
    " FROM main.thread",
    "INSERT INTO target.mapping SELECT ?1, start, end, file_offset, inode, dev_major, dev_minor,"
    " prot, path, build_id FROM main.mapping",
    "INSERT INTO target.size_class SELECT ?1, size_class, bytes, npages, nelems"
    " FROM main.size_class",
    "INSERT INTO target.arena SELECT ?1, base, size, reserved_bytes, prepared_bytes, ready_bytes,"
    " in_use_pages, free_pages, scavenged_pages, zeroed_base FROM main.arena",
    "INSERT INTO target.span SELECT ?1, base, npages, elem_size, nelems, live, marked, owner,"
    " size_class, noscan, state, place, needzero, sweepgen, freeindex, recorded, large_requested,"
    " bitmap FROM main.span",
    "INSERT INTO target.radix_summary SELECT ?1, level, idx, base, npages, start_free, max_free,"
    " end_free FROM main.radix_summary",
    "INSERT INTO target.chunk SELECT ?1, idx, base, map FROM main.chunk",
    "INSERT INTO target.site SELECT ?1, s.site_id, k.stack_id, truncated, stopped, samples,"
    " sample_bytes, alloc_objects, alloc_bytes"
    " FROM main.site s CROSS JOIN import_stack k ON k.stack = s.stack_id",
    "INSERT INTO target.site_live SELECT ?1, site_id, given, requested, objects, weight"
    " FROM main.site_live",
    "INSERT INTO target.resident SELECT ?1, name, mapped_bytes, resident_bytes,"
    " swapped_bytes, huge_bytes FROM main.resident",
    "INSERT INTO target.span_figure SELECT ?1, base, resident_bytes, swapped_bytes,"
    " recorded_objects, requested_bytes, live_resident, free_resident FROM main.span_figure",
    "INSERT INTO target.arena_figure SELECT ?1, base, resident_bytes, swapped_bytes, huge_bytes,"
    " huge_exact, free_resident_bytes FROM main.arena_figure",
    "INSERT INTO target.free_run SELECT ?1, arena, min_pages, runs, pages, returned_pages, longest"
    " FROM main.free_run",
    "INSERT INTO target.pin SELECT ?1, unit, base, site_id, objects, bytes, block_bytes,"
    " block_used, block_objects, block_sites FROM main.pin",
    "INSERT INTO target.memstat SELECT ?1, name, reserved_bytes, prepared_bytes, ready_bytes,"
    " used_bytes FROM main.memstat",
    "INSERT INTO target.counter SELECT ?1, name, unit, value FROM main.counter",
    "INSERT INTO target.mcache SELECT ?1, mcache, attached, orphan, next_sample, tiny, tiny_offset,"
    " pcache_base, pcache_free, pcache_scavenged, pcache_npages, pcache_nscavenged, nlarge,"
    " npending, large_bytes, flush_gen, nrefill, nspan_alloc, nspan_free, nstacks, stack_bytes"
    " FROM main.mcache",
    "INSERT INTO target.mcache_class SELECT ?1, mcache, size_class, noscan, current, current_free,"
    " search, nhints, hint_capacity, nlisted, listed_free, nheld, held_free"
    " FROM main.mcache_class",
    "INSERT INTO target.mcentral SELECT ?1, size_class, noscan, npending, partial_swept,"
    " partial_unswept, full_swept, full_unswept, partial_swept_free, partial_unswept_free,"
    " full_swept_free, full_unswept_free, ncache, nuncache FROM main.mcentral",
    "INSERT INTO target.mheap SELECT ?1, sweepgen, search_addr, arena_hint, cur_arena,"
    " cur_arena_end, chunk_start, chunk_end, pages_in_use, reclaim_at, pages_grown, pages_taken,"
    " pages_scavenged, summary_bytes, nspan_alloc, nspan_free, nlarge, ngrow, nreclaim, nheaders"
    " FROM main.mheap",
    "INSERT INTO target.scavenger SELECT ?1, goal_bytes, retained_bytes, peak_pages, last_peak,"
    " released_pages, reused_pages, ncalls, nwindows, nregrets, window_ns, window_left_ns,"
    " worked_ns, working, regretful FROM main.scavenger",
    "INSERT INTO target.transition SELECT ?1, purpose, name, from_state, to_state, ncalls, bytes"
    " FROM main.transition",
    "INSERT INTO target.verdict SELECT ?1, site_id, judged, freed, other_thread, reentered,"
    " unknown_switched, unknown_stopped, unknown_deep, life_ns_p50, life_ns_p99, life_bytes_p50,"
    " life_bytes_p99, chains, growths, final_size_p50, final_size_p99 FROM main.verdict",
    "INSERT INTO target.outlived SELECT ?1, site_id, frames, objects, proved FROM main.outlived",
    "INSERT INTO target.handover SELECT ?1, site_id, from_tid, to_tid, from_comm, to_comm, objects"
    " FROM main.handover",
    "INSERT INTO target.tick SELECT ?1, tick, when_ns, live_bytes, live_objects, alloc_bytes,"
    " rss_bytes FROM main.tick",
    "INSERT INTO target.history SELECT ?1, site_id, tick, live_bytes, live_objects, alloc_bytes"
    " FROM main.history",
    "INSERT INTO target.leak SELECT ?1, address, head, size, requested, site_id, born"
    " FROM main.leak",
    "INSERT INTO target.leak_check SELECT ?1, interior, unaligned, mapped, in_place, nstopped,"
    " nmissing, missing_tids, longest_tid, longest_ns, stopping_ns, copying_ns, mark_ns, group_ns,"
    " live_objects, reached_objects, direct, words, unreadable_bytes, dead_stacks, unknown_ranges,"
    " ignored_objects, spared_objects, held_objects, held_bytes FROM main.leak_check",
    "INSERT INTO target.held SELECT ?1, number, address, size, requested, site_id, born, objects,"
    " bytes, kind, word, tid, reg, coalesce(k.stack_id, 0)"
    " FROM main.held h LEFT JOIN import_stack k ON k.stack = h.stack_id",
    "INSERT INTO target.root SELECT ?1, kind, ranges, bytes, objects FROM main.root",
    "INSERT INTO target.crash SELECT ?1, signal, code, tid, comm, sender, address, pc, sp,"
    " coalesce(k.stack_id, 0), stopped"
    " FROM main.crash c LEFT JOIN import_stack k ON k.stack = c.stack_id",
};

static int run(sqlite3 *db, const char *sql, int64_t snapshot) {
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc != SQLITE_OK)
        return rc;
    if (sqlite3_bind_parameter_count(s))
        sqlite3_bind_int64(s, 1, snapshot);
    rc = sqlite3_step(s);
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int add_snapshot(sqlite3 *db, enum db_objects objects) {
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(db, snapshot_sql, -1, &s, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(s, 1, db_objects_name(objects), -1, SQLITE_STATIC);
    sqlite3_step(s);
    return sqlite3_finalize(s);
}

int db_copy(sqlite3 *db, const struct image *im, enum db_objects objects, int64_t *ret_snapshot) {
    int rc = run(db, process_sql, 0);
    if (rc == SQLITE_OK)
        rc = add_snapshot(db, objects);
    int64_t snapshot = sqlite3_last_insert_rowid(db);
    if (rc == SQLITE_OK)
        rc = db_copy_stacks(db, im);
    for (size_t i = 0; i < sizeof table_sql / sizeof table_sql[0] && rc == SQLITE_OK; i++)
        rc = run(db, table_sql[i], snapshot);
    if (rc == SQLITE_OK)
        rc = db_copy_objects(db, objects, snapshot);
    *ret_snapshot = snapshot;
    return rc;
}

/* already looks for the image in the file; 0 if it is not there. */
static int64_t already(struct import *m) {
    return db_integer(m->db,
                      "SELECT t.snapshot_id FROM target.snapshot t"
                      " JOIN image_header h ON h.image_id = t.image_id",
                      0);
}

static int attach(struct import *m, const char *path, const char *pragmas) {
    sqlite3_stmt *s = NULL;
    char *name = db_name(path);
    int rc = sqlite3_prepare_v2(m->db, "ATTACH ? AS target", -1, &s, NULL);
    if (rc == SQLITE_OK && name) {
        sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
        rc = sqlite3_step(s);
    }
    sqlite3_finalize(s);
    sqlite3_free(name);
    if (rc != SQLITE_DONE)
        return db_fault_sqlite(&m->fault, m->db);
    rc = db_verify(&m->fault, m->db, "target");
    if (rc)
        return rc;
    if (sqlite3_exec(m->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return db_fault_sqlite(&m->fault, m->db);
    return 0;
}

/* copy_pruned adds the image, and lets the oldest snapshots go. */
static int copy_pruned(struct import *m) {
    int rc = db_prune_rows(m->db, m->keep, &m->result.gone);
    if (rc == SQLITE_OK)
        rc = db_copy(m->db, m->im, m->objects, &m->result.snapshot_id);
    return rc == SQLITE_OK ? db_prune_rest(m->db, m->result.gone) : rc;
}

/* transact imports into the attached file, all or nothing. */
static int transact(struct import *m) {
    if (sqlite3_exec(m->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return db_fault_sqlite(&m->fault, m->db);
    m->result.snapshot_id = already(m);
    m->result.added = m->result.snapshot_id == 0;
    int rc = SQLITE_OK;
    if (m->result.added)
        rc = copy_pruned(m);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(m->db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return 0;
    rc = db_fault_sqlite(&m->fault, m->db);
    sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int with_memory(struct import *m, const char *path, const char *pragmas) {
    int rc = db_memory(&m->fault, m->im, &m->db);
    if (rc)
        return rc;
    rc = attach(m, path, pragmas);
    if (!rc)
        rc = transact(m);
    sqlite3_close(m->db);
    return rc;
}

static int import_new(struct import *m) {
    char *temp;
    int lock;
    int rc = db_create_beside(&m->fault, &temp, &lock);
    if (rc)
        return rc;
    /* Nobody else sees the file before it is whole: no journal, one sync at the end. */
    rc = with_memory(m, temp,
                     "PRAGMA target.journal_mode = OFF; PRAGMA target.synchronous = OFF;"
                     "PRAGMA target.cache_size = -65536");
    if (!rc)
        rc = db_rename(&m->fault, temp);
    if (rc)
        unlink(temp);
    free(temp);
    close(lock);
    return rc;
}

static int import_existing(struct import *m) {
    int rc = db_upgrade(&m->fault);
    return rc ? rc
              : with_memory(m, m->fault.path,
                            "PRAGMA target.journal_mode = DELETE; PRAGMA target.synchronous = FULL;"
                            "PRAGMA target.cache_size = -65536");
}

/* check_choice finds out that the image can't tell what is asked for before anything is made. */
static int check_choice(const struct import *m) {
    if (m->objects != DB_OBJECTS_LEAKED || image_has(m->im, GOMALLOC_SECTION_LEAK_CHECK))
        return 0;
    return db_fault(&m->fault, -EINVAL,
                    "no leak check was made, so no objects are known to have leaked; add --leaks"
                    " to the snapshot of a process, or choose other --objects");
}

static int check_target(const struct db_fault *f, bool *ret_exists) {
    struct stat st;
    *ret_exists = false;
    if (stat(f->path, &st)) {
        if (errno == ENOENT)
            return 0;
        return db_fault(f, -errno, "%s", strerror(errno));
    }
    if (S_ISDIR(st.st_mode))
        return db_fault(f, -EISDIR, "is a directory, not a snapshot file");
    if (!S_ISREG(st.st_mode))
        return db_fault(f, -EINVAL, "is not a regular file");
    *ret_exists = st.st_size > 0;
    if (*ret_exists && access(f->path, W_OK))
        return db_fault(f, -errno, "cannot write to it: %s", strerror(errno));
    return 0;
}

int db_import(const char *path, const struct image *im, const struct db_import_options *options,
              struct db_import_result *ret, char *err, size_t errlen) {
    struct import m = {.fault = {path, err, errlen},
                       .im = im,
                       .objects = options ? options->objects : DB_OBJECTS_RECORDED,
                       .keep = options ? options->keep : 0};
    bool exists = false;
    size_t nprocesses;
    image_section(im, GOMALLOC_SECTION_PROCESS, &nprocesses);
    if (nprocesses == 0)
        return db_fault(&m.fault, -EINVAL, "the image does not say which process it is of");
    image_watch(options ? options->progress : NULL);
    int rc = check_choice(&m);
    if (!rc)
        rc = check_target(&m.fault, &exists);
    if (!rc)
        db_remove_litter(path);
    if (!rc && !exists)
        rc = import_new(&m);
    /* -EEXIST: another program was faster. */
    if (exists || rc == -EEXIST)
        rc = rc && rc != -EEXIST ? rc : import_existing(&m);
    image_watch(NULL);
    if (!rc && ret)
        *ret = m.result;
    return rc;
}
