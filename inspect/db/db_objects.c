/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which live objects an import stores one by one, and what each row stands for.
 *
 * The sums per site, class and span are stored whatever is chosen here.  object.weight says for how
 * many live objects a row stands, so that sum(weight) of a snapshot counts its live objects, or
 * estimates their number:
 *
 *      all         every object, and each stands for itself: 1
 *      recorded    those with a site; 1 / (1 - exp(-size / rate)), as in site_live
 *      sample      of these about SAMPLE_ROWS at most
 *      leaked      those of the leak check: 1
 *
 * The sample is drawn like the recorder's: an object of s bytes is kept with probability
 * p = 1 - exp(-s / every), and its weight divided by p.  So sums are unbiased, of whichever
 * objects, and what holds much memory is surely seen.  `every` is bytes / SAMPLE_ROWS, and so at
 * most SAMPLE_ROWS objects are expected; where there are not as many, all are kept.  Chance is a
 * hash of the address: an image has one sample, and an object that lives on is in that of each
 * snapshot.
 */
#include <math.h>
#include <string.h>

#include "db/db_private.h"

#define SAMPLE_ROWS 100000
#define HASH_BITS   53 /* what a double holds */

static const char *const names[] = {[DB_OBJECTS_RECORDED] = "recorded",
                                    [DB_OBJECTS_ALL] = "all",
                                    [DB_OBJECTS_NONE] = "none",
                                    [DB_OBJECTS_SAMPLE] = "sample",
                                    [DB_OBJECTS_LEAKED] = "leaked"};

/* Each takes the snapshot's id as ?1.  What is live and has no site stands for nothing else where
 * every allocation is recorded, and is part of what the others stand for where only some are. */
static const char *const copy_sql[] = {
    [DB_OBJECTS_ALL] =
        "INSERT INTO target.object SELECT ?1, address, span, slot, given, requested, site, 1"
        " FROM image_object",
    [DB_OBJECTS_RECORDED] =
        "INSERT INTO target.object SELECT ?1, address, span, slot, given, requested, site, weight"
        " FROM image_object WHERE site > 0",
    [DB_OBJECTS_SAMPLE] =
        "INSERT INTO target.object SELECT ?1, address, span, slot, given, requested, site,"
        " weight * factor FROM (SELECT *, object_factor(address, coalesce(requested, given)) AS"
        " factor FROM image_object) WHERE factor IS NOT NULL"
        " AND (site > 0 OR (SELECT rate <= 1 FROM image_process))",
    [DB_OBJECTS_LEAKED] =
        "INSERT INTO target.object SELECT ?1, o.address, span, slot, given, o.requested, o.site, 1"
        " FROM image_leak l CROSS JOIN image_object o ON o.address = l.address",
    [DB_OBJECTS_NONE] = NULL,
};

static const char figures_sql[] =
    " FROM image_site_live WHERE site > 0 OR (SELECT rate <= 1 FROM image_process)";

const char *db_objects_name(enum db_objects objects) {
    return names[objects];
}

bool db_objects_named(const char *name, enum db_objects *ret) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum db_objects)i;
            return true;
        }
    return false;
}

/* chance returns a number in [0, 1) that depends on an address alone. */
static double chance(uint64_t address) {
    uint64_t h = (address >> 3) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 32)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 29)) * UINT64_C(0x94d049bb133111eb);
    return ldexp((double)((h ^ (h >> 32)) >> (64 - HASH_BITS)), -HASH_BITS);
}

/* object_factor(address, bytes) is NULL for an object that is not in the sample, else 1 / p. */
static void object_factor(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const double *every = sqlite3_user_data(ctx);
    sqlite3_int64 bytes = sqlite3_value_int64(argv[1]);
    double p = *every > 0 ? -expm1(-(double)(bytes > 0 ? bytes : 1) / *every) : 1;
    (void)argc;
    if (chance((uint64_t)sqlite3_value_int64(argv[0])) < p)
        sqlite3_result_double(ctx, 1 / p);
}

/* sample_every returns the distance of the samples in bytes; 0: everything is kept. */
static double sample_every(sqlite3 *db) {
    char *objects = sqlite3_mprintf("SELECT coalesce(sum(objects), 0)%s", figures_sql);
    char *bytes = sqlite3_mprintf(
        "SELECT coalesce(sum(objects * max(coalesce(requested, given), 1)), 0)%s", figures_sql);
    double every = 0;
    if (objects && bytes && db_integer(db, objects, 0) > SAMPLE_ROWS)
        every = (double)db_integer(db, bytes, 0) / SAMPLE_ROWS;
    sqlite3_free(objects);
    sqlite3_free(bytes);
    return every;
}

int db_copy_objects(sqlite3 *db, enum db_objects objects, int64_t snapshot) {
    double every = objects == DB_OBJECTS_SAMPLE ? sample_every(db) : 0;
    sqlite3_stmt *s = NULL;
    if (!copy_sql[objects])
        return SQLITE_OK;
    int rc = sqlite3_create_function_v2(db, "object_factor", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                        &every, object_factor, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, copy_sql[objects], -1, &s, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(s, 1, snapshot);
    sqlite3_step(s);
    rc = sqlite3_finalize(s);
    sqlite3_create_function_v2(db, "object_factor", 2, SQLITE_UTF8, NULL, NULL, NULL, NULL, NULL);
    return rc;
}
