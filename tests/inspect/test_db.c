/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Snapshot files: importing, refusing, and never being half-written.
 *
 * A full disk is made by RLIMIT_FSIZE in a child process, where each write beyond the limit fails
 * (with SIGXFSZ ignored) or kills the writer in the middle (with the signal's default action): both
 * work everywhere and at an exact byte.  As root a real full file system is tried as well.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/db.h"
#include "maker.h"
#include "query.h"

static char dir[64];
static char path[96]; /* dir/s.db */
static char err[512];

static int set_up(void **state) {
    (void)state;
    strcpy(dir, "/tmp/db-test.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/s.db", dir);
    err[0] = '\0';
    return 0;
}

/* nfiles returns how many files are in dir. */
static int nfiles(void) {
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static struct image *demo_open(const struct demo *d) {
    size_t size;
    struct image *im = NULL;
    unsigned char *bytes = demo_image(d, &size);
    if (image_open_memory(bytes, size, &im, err, sizeof err))
        fail_msg("%s", err);
    free(bytes);
    return im;
}

static int import_as(const struct demo *d, enum db_objects objects, struct db_import_result *r) {
    const struct db_import_options options = {.objects = objects};
    struct image *im = demo_open(d);
    int rc = db_import(path, im, &options, r, err, sizeof err);
    image_close(im);
    return rc;
}

/* import adds a demo to the file and returns its snapshot. */
static int64_t import(const struct demo *d) {
    struct db_import_result r;
    int rc = import_as(d, DB_OBJECTS_RECORDED, &r);
    if (rc)
        fail_msg("%s", err);
    return r.snapshot_id;
}

static sqlite3 *open_file(void) {
    sqlite3 *db = NULL;
    if (db_open_file(path, &db, err, sizeof err))
        fail_msg("%s", err);
    return db;
}

static void assert_one_line(const char *names) {
    assert_non_null(strstr(err, names));
    assert_null(strchr(err, '\n'));
}

/* plain runs SQL on the file with SQLite's own defaults, as anybody may. */
static void plain(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int open_fails(void) {
    sqlite3 *db = NULL;
    err[0] = '\0';
    int rc = db_open_file(path, &db, err, sizeof err);
    assert_int_not_equal(rc, 0);
    assert_null(db);
    assert_one_line(path);
    return rc;
}

/* Importing. */

static void test_an_imported_file_is_whole(void **state) {
    (void)state;
    assert_int_equal(import(&demo_default), 1);
    assert_int_equal(nfiles(), 1);
    sqlite3 *db = open_file();
    query_assert(db, "PRAGMA integrity_check", "ok");
    query_assert(db, "PRAGMA foreign_key_check", "");
    query_assert(db, "PRAGMA application_id", "1196248131");
    query_assert(db, "PRAGMA user_version", "3");
    query_assert(db, "SELECT pid, comm, rate, live_objects FROM v1_snapshot", "4711|demo|1|178");
    db_close(db);
}

static void test_the_same_image_twice_adds_nothing(void **state) {
    (void)state;
    struct db_import_result r;
    import(&demo_default);
    assert_int_equal(import_as(&demo_default, DB_OBJECTS_RECORDED, &r), 0);
    assert_false(r.added);
    assert_int_equal(r.snapshot_id, 1);
    sqlite3 *db = open_file();
    assert_int_equal(query_int(db, "SELECT count(*) FROM snapshot"), 1);
    assert_int_equal(query_int(db, "SELECT count(*) FROM object"), 128);
    db_close(db);
}

static void test_snapshots_of_one_process_share_it_and_its_stacks(void **state) {
    (void)state;
    struct demo later = demo_default;
    later.id = 2;
    later.captured_ns += 1000;
    later.nodes = 150;
    later.other_numbers = true;
    import(&demo_default);
    assert_int_equal(import(&later), 2);
    sqlite3 *db = open_file();
    query_assert(db, "SELECT count(*) FROM process", "1");
    query_assert(db, "SELECT count(*) FROM stack", "7"); /* root, 5 frames, 1 only in the second */
    query_assert(db, "SELECT count(*) FROM frame", "7");
    assert_int_equal(db_latest_snapshot(db), 2);
    query_assert(db, "PRAGMA foreign_key_check", "");
    db_close(db);
}

static void test_processes_are_told_apart(void **state) {
    (void)state;
    struct demo reused = demo_default, other = demo_default;
    reused.id = 2;
    reused.start_ticks++; /* the same pid, another process */
    other.id = 3;
    other.pid++;
    other.text = 0x7f0000000000; /* the same program elsewhere */
    import(&demo_default);
    import(&reused);
    import(&other);
    sqlite3 *db = open_file();
    query_assert(db, "SELECT pid, start_ticks FROM process ORDER BY process_id",
                 "4711|123456\n4711|123457\n4712|123456");
    query_assert(db, "SELECT count(*) FROM frame", "6"); /* code is known by module and offset */
    db_close(db);
}

static void test_objects_are_stored_as_asked(void **state) {
    (void)state;
    struct demo d = demo_default;
    assert_int_equal(import_as(&d, DB_OBJECTS_ALL, NULL), 0);
    d.id = 2;
    assert_int_equal(import_as(&d, DB_OBJECTS_NONE, NULL), 0);
    d.id = 3;
    assert_int_equal(import_as(&d, DB_OBJECTS_RECORDED, NULL), 0);
    sqlite3 *db = open_file();
    query_assert(db, "SELECT snapshot_id, count(*) FROM object GROUP BY 1", "1|178\n3|128");
    query_assert(db, "SELECT snapshot_id, sum(live_objects) FROM v1_site GROUP BY 1",
                 "1|178\n2|178\n3|178");
    query_assert(db, "SELECT group_concat(stored_objects) FROM v1_snapshot", "all,none,recorded");
    query_assert(db, "SELECT sum(weight) FROM v1_object WHERE snapshot_id = 1", "178.0");
    db_close(db);
}

static void test_leaked_objects_are_stored_if_a_check_has_found_any(void **state) {
    (void)state;
    struct demo d = demo_default;
    assert_int_equal(import_as(&d, DB_OBJECTS_LEAKED, NULL), -EINVAL);
    assert_one_line("no leak check");
    assert_int_equal(nfiles(), 0);
    d.leaks = true;
    assert_int_equal(import_as(&d, DB_OBJECTS_LEAKED, NULL), 0);
    sqlite3 *db = open_file();
    query_assert(db, "SELECT count(*), sum(weight) FROM object", "6|6.0");
    query_assert(db, "SELECT count(*) FROM object JOIN leak USING (snapshot_id, address)", "6");
    db_close(db);
}

/* What a recorded object stands for is the same one by one and in the sums. */
static void test_weights_of_objects_add_up_to_the_sums(void **state) {
    (void)state;
    struct demo d = demo_default;
    d.rate = 1000;
    assert_int_equal(import_as(&d, DB_OBJECTS_RECORDED, NULL), 0);
    d.id = 2;
    assert_int_equal(import_as(&d, DB_OBJECTS_SAMPLE, NULL), 0);
    sqlite3 *db = open_file();
    query_assert(db,
                 "SELECT snapshot_id, count(*), sum(weight) BETWEEN 5000 AND 9000,"
                 " abs(sum(weight) - (SELECT sum(objects * weight) FROM site_live l"
                 "  WHERE l.snapshot_id = o.snapshot_id AND site_id > 0)) < 0.001"
                 " FROM object o GROUP BY 1",
                 "1|128|1|1\n2|128|1|1");
    query_assert(db, "SELECT count(*) FROM object WHERE site_id = 0", "0");
    db_close(db);
}

/* What an import says of itself: the first letter of what it does, whenever that changes. */
static char shown[16];
static size_t last_done, last_total;

static void show(const char *what, size_t done, size_t total) {
    size_t n = strlen(shown);
    bool first = n == 0 || shown[n - 1] != what[0];
    assert_true(n + 1 < sizeof shown);
    if (first)
        shown[n] = what[0];
    assert_true((first || done > last_done) && done <= total);
    last_done = done;
    last_total = total;
}

static void test_an_import_tells_how_far_it_is_with_all_that_takes_long(void **state) {
    (void)state;
    const struct db_import_options options = {.objects = DB_OBJECTS_ALL, .progress = show};
    struct demo d = demo_default;
    d.more_spans = 150;
    struct image *im = demo_open(&d);
    memset(shown, 0, sizeof shown);
    assert_int_equal(db_import(path, im, &options, NULL, err, sizeof err), 0);
    /* summing up sites, measuring spans, finding pins, storing objects */
    assert_string_equal(shown, "smfs");
    assert_int_equal(last_total, 153778);
    import(&demo_default); /* and says nothing afterwards */
    assert_string_equal(shown, "smfs");
    image_close(im);
}

/* 153,600 objects of 8 bytes of 7 sites, and one of 40,000 bytes. */
static void test_a_sample_of_objects_is_bounded_and_unbiased(void **state) {
    (void)state;
    struct demo d = demo_default;
    d.more_spans = 150;
    d.more_sites = 7;
    assert_int_equal(import_as(&d, DB_OBJECTS_SAMPLE, NULL), 0);
    d.id = 2;
    assert_int_equal(import_as(&d, DB_OBJECTS_SAMPLE, NULL), 0);
    sqlite3 *db = open_file();
    query_assert(db, "SELECT snapshot_id, count(*) BETWEEN 60000 AND 100000 FROM object GROUP BY 1",
                 "1|1\n2|1");
    query_assert(db,
                 "SELECT count(*) FROM (SELECT address, weight FROM object"
                 " WHERE snapshot_id = 1 EXCEPT SELECT address, weight FROM object"
                 " WHERE snapshot_id = 2)",
                 "0");
    query_assert(db, "SELECT weight < 1.001 FROM object WHERE requested = 40000", "1\n1");
    query_assert(db,
                 "SELECT count(*), max(abs(o.objects / s.live_objects - 1)) < 0.05"
                 " FROM v1_site s JOIN (SELECT snapshot_id, site_id, sum(weight) AS objects"
                 "  FROM v1_object GROUP BY 1, 2) o USING (snapshot_id, site_id)"
                 " WHERE s.live_objects > 1000",
                 "14|1");
    db_close(db);
}

static void test_an_empty_file_is_filled(void **state) {
    (void)state;
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(import(&demo_default), 1);
    assert_int_equal(nfiles(), 1);
}

static void test_odd_names_are_only_names(void **state) {
    (void)state;
    char old[256];
    struct image *im = demo_open(&demo_default);
    sqlite3 *db;
    static const char *const names[] = {":memory:", "file:x?mode=memory", "a'b\"c%41 #?.db"};
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(dir), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(db_import(names[i], im, NULL, NULL, err, sizeof err), 0);
        assert_int_equal(nfiles(), i + 1);
        assert_int_equal(db_import(names[i], im, NULL, NULL, err, sizeof err), 0);
        assert_int_equal(db_open_file(names[i], &db, err, sizeof err), 0);
        assert_int_equal(query_int(db, "SELECT count(*) FROM snapshot"), 1);
        db_close(db);
    }
    assert_int_equal(chdir(old), 0);
    image_close(im);
}

static void test_an_image_without_its_process_is_not_imported(void **state) {
    (void)state;
    struct maker m;
    struct image *im;
    size_t size;
    maker_init(&m);
    demo_make(&m, &demo_default);
    m.header.flags = GOMALLOC_IMAGE_PARTIAL;
    m.sections[GOMALLOC_SECTION_PROCESS].absent = true;
    m.sections[GOMALLOC_SECTION_PROCESS].size = 0;
    unsigned char *bytes = maker_finish(&m, &size);
    assert_int_equal(image_open_memory(bytes, size, &im, err, sizeof err), 0);
    assert_int_equal(db_import(path, im, NULL, NULL, err, sizeof err), -EINVAL);
    assert_int_equal(nfiles(), 0);
    image_close(im);
    free(bytes);
    maker_free(&m);
}

/* Refusing. */

static void test_refuses_another_application(void **state) {
    (void)state;
    plain("CREATE TABLE t (a); PRAGMA application_id = 7");
    assert_int_equal(open_fails(), IMAGE_VERSION);
    assert_int_equal(import_as(&demo_default, DB_OBJECTS_NONE, NULL), IMAGE_VERSION);
    assert_one_line("another application");
    plain("INSERT INTO t VALUES (1)"); /* it is still theirs */
}

static void test_refuses_another_version(void **state) {
    (void)state;
    import(&demo_default);
    plain("PRAGMA user_version = 4");
    assert_int_equal(open_fails(), IMAGE_VERSION);
    assert_int_equal(import_as(&demo_default, DB_OBJECTS_NONE, NULL), IMAGE_VERSION);
    assert_one_line("version 3");
}

static void test_refuses_what_is_no_database(void **state) {
    (void)state;
    assert_int_equal(open_fails(), -ENOENT);
    FILE *f = fopen(path, "w");
    fputs("not a database, but longer than a header of one hundred bytes would have to be for "
          "anybody to mistake it for a database of this or any kind",
          f);
    fclose(f);
    assert_int_equal(open_fails(), IMAGE_DAMAGED);
    assert_int_equal(import_as(&demo_default, DB_OBJECTS_NONE, NULL), IMAGE_DAMAGED);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(open_fails(), IMAGE_DAMAGED);
    unlink(path);
    mkdir(path, 0700);
    assert_int_equal(open_fails(), -EISDIR);
    assert_int_equal(import_as(&demo_default, DB_OBJECTS_NONE, NULL), -EISDIR);
    rmdir(path);
}

static void test_refuses_a_file_cut_short(void **state) {
    (void)state;
    struct stat st;
    import(&demo_default);
    assert_int_equal(stat(path, &st), 0);
    for (off_t size = st.st_size - 1; size > 0; size -= 3001) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(open_fails(), IMAGE_DAMAGED);
    }
    assert_int_equal(truncate(path, 43), 0); /* within the header, before the application_id */
    assert_int_equal(open_fails(), IMAGE_DAMAGED);
}

/* make_old turns the file into one of version 1 or 2: without the tables and views that came later.
 */
static void make_old(int version) {
    sqlite3 *db;
    char drops[16384] = "";
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    strcpy(drops, query_text(db, "SELECT group_concat(printf('DROP VIEW %w;', name), '')"
                                 " FROM sqlite_schema WHERE type = 'view'"));
    assert_int_equal(sqlite3_exec(db, drops, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    plain(
        "DROP TABLE crash; DROP TABLE pin; DROP TABLE span_figure; DROP TABLE arena_figure; DROP "
        "TABLE free_run; "
        "DROP TABLE resident; DROP TABLE root; DROP TABLE held; DROP TABLE leak_check; DROP TABLE "
        "leak; DROP TABLE "
        "history; DROP TABLE "
        "tick; DROP TABLE handover; DROP TABLE outlived;"
        "DROP TABLE verdict; ALTER TABLE symbol DROP COLUMN col;"
        "ALTER TABLE snapshot DROP COLUMN stored_objects; ALTER TABLE object DROP COLUMN weight;"
        "CREATE VIEW v1_snapshot AS SELECT snapshot_id, captured_ns FROM snapshot;"
        "PRAGMA user_version = 2");
    if (version == 1)
        plain("DROP TABLE mcache_class; DROP TABLE mcache; DROP TABLE mcentral; DROP TABLE mheap;"
              "DROP TABLE scavenger; DROP TABLE transition;"
              "PRAGMA user_version = 1");
}

static void assert_upgraded_from(int version) {
    struct demo first = demo_default, later = demo_default;
    first.rate = 1000;
    later.id = 2;
    later.captured_ns++;
    later.leaks = true;
    import(&first);
    make_old(version);
    sqlite3 *db = open_file();
    query_assert(db, "SELECT count(*) FROM v1_snapshot", "1");
    db_close(db);
    assert_int_equal(import(&later), 2);
    db = open_file();
    query_assert(db, "PRAGMA user_version", "3");
    query_assert(db, "PRAGMA integrity_check", "ok");
    query_assert(db, "SELECT snapshot_id, live_objects FROM v1_snapshot ORDER BY 1",
                 "1|178\n2|178");
    query_assert(db, "SELECT count(*) FROM v1_cache WHERE snapshot_id = 2", "2");
    query_assert(db, "SELECT snapshot_id, count(*) FROM verdict GROUP BY 1", "2|2");
    query_assert(db, "SELECT snapshot_id, count(*) FROM v1_leak GROUP BY 1", "2|6");
    query_assert(db,
                 "SELECT sql FROM sqlite_schema WHERE sql LIKE '%CREATE TABLE symbol%' AND"
                 " sql NOT LIKE '% col INTEGER%'",
                 "");
    query_assert(db, "SELECT count(*) FROM v1_balance WHERE NOT holds", "0");
    query_assert(db,
                 "SELECT max(abs(o.weight - l.weight)) < 0.001, min(o.weight) > 10 FROM object o"
                 " JOIN site_live l USING (snapshot_id, site_id, given, requested)"
                 " WHERE snapshot_id = 1 AND site_id = 1",
                 "1|1");
    query_assert(db, "SELECT snapshot_id, stored_objects FROM v1_snapshot",
                 "1|recorded\n2|recorded");
    db_close(db);
}

static void test_a_file_of_version_1_is_read_and_brought_up_to_date(void **state) {
    (void)state;
    assert_upgraded_from(1);
}

static void test_a_file_of_version_2_is_read_and_brought_up_to_date(void **state) {
    (void)state;
    assert_upgraded_from(2);
}

static void test_queries_cannot_change_anything(void **state) {
    (void)state;
    static const char *const statements[] = {
        "DELETE FROM span",
        "UPDATE snapshot SET rate = 2",
        "INSERT INTO counter VALUES (1, 'a', 'b', 3)",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE VIEW v AS SELECT 1",
        "DROP VIEW v1_site",
        "ATTACH ':memory:' AS x",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO '/tmp/never'",
        "ANALYZE",
        "BEGIN",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "PRAGMA user_version = 4",
        "PRAGMA journal_mode = WAL",
        "UPDATE sqlite_master SET sql = ''",
        "SELECT load_extension('x')",
    };
    import(&demo_default);
    struct image *im = demo_open(&demo_default);
    sqlite3 *dbs[2] = {open_file(), NULL};
    assert_int_equal(db_open_image(im, &dbs[1], err, sizeof err), 0);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
            if (strncmp(query_text(dbs[k], statements[i]), "error: ", 7) != 0)
                fail_msg("%s was allowed", statements[i]);
    for (size_t k = 0; k < 2; k++) {
        query_assert(dbs[k], "SELECT value FROM json_each('[1, 2]')", "1\n2");
        query_assert(dbs[k], "SELECT name FROM pragma_table_info('counter') LIMIT 1",
                     "snapshot_id");
        db_close(dbs[k]);
    }
    image_close(im);
}

/* Never half-written. */

/* in_child runs an import of `d` in a child that may write files of `limit` bytes; returns its wait
 * status.  lethal: the write beyond the limit kills it, else it fails. */
static int in_child(const struct demo *d, rlim_t limit, bool lethal) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit r = {limit, limit};
        struct rlimit no_core = {0, 0};
        struct image *im = demo_open(d);
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGXFSZ, lethal ? SIG_DFL : SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &r);
        int rc = db_import(path, im, NULL, NULL, err, sizeof err);
        _exit(rc == 0 ? 0 : err[0] == '\0' ? 3 : strchr(err, '\n') ? 4 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_a_failed_write_leaves_no_new_file(void **state) {
    (void)state;
    for (rlim_t limit = 0; limit < 100000; limit += 7001) {
        int status = in_child(&demo_default, limit, false);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 2);
        assert_int_equal(nfiles(), 0);
    }
}

static void test_a_killed_import_leaves_no_new_file_of_that_name(void **state) {
    (void)state;
    for (rlim_t limit = 0; limit < 100000; limit += 7001) {
        int status = in_child(&demo_default, limit, true);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(access(path, F_OK), -1);
    }
}

/* larger is a second snapshot that doubles the file. */
static const struct demo *larger(void) {
    static struct demo d;
    d = demo_default;
    d.id = 2;
    d.more_spans = 5;
    return &d;
}

static void assert_only_the_first(void) {
    sqlite3 *db = open_file();
    query_assert(db, "PRAGMA integrity_check", "ok");
    query_assert(db, "SELECT count(*), min(snapshot_id), max(snapshot_id) FROM snapshot", "1|1|1");
    query_assert(db, "SELECT count(*) FROM object", "128");
    query_assert(db, "SELECT count(*) FROM v1_balance WHERE NOT holds", "0");
    db_close(db);
}

static void test_a_failed_write_leaves_the_old_snapshots(void **state) {
    (void)state;
    struct stat st;
    import(&demo_default);
    assert_int_equal(stat(path, &st), 0);
    for (rlim_t more = 0; more < 100000; more += 20001) {
        int status = in_child(larger(), (rlim_t)st.st_size + more, false);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 2);
        assert_int_equal(nfiles(), 1);
        assert_only_the_first();
    }
    assert_int_equal(import(larger()), 2);
}

static void test_a_killed_import_leaves_the_old_snapshots(void **state) {
    (void)state;
    struct stat st;
    import(&demo_default);
    assert_int_equal(stat(path, &st), 0);
    for (rlim_t more = 0; more < 100000; more += 20001) {
        int status = in_child(larger(), (rlim_t)st.st_size + more, true);
        assert_true(WIFSIGNALED(status));
        assert_only_the_first(); /* rolls the journal back */
    }
    assert_int_equal(import(larger()), 2);
}

/* Whoever comes second finds the file and adds to it, whether it was there before or not. */
static void test_imports_at_the_same_time_are_all_kept(void **state) {
    (void)state;
    enum { N = 8 };
    struct demo d = demo_default;
    pid_t pids[N];
    for (int i = 0; i < N; i++) {
        d.id = (uint8_t)i;
        fflush(NULL);
        if ((pids[i] = fork()) == 0) {
            struct image *im = demo_open(&d);
            _exit(db_import(path, im, NULL, NULL, err, sizeof err) != 0);
        }
    }
    for (size_t i = 0; i < N; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(nfiles(), 1);
    sqlite3 *db = open_file();
    assert_int_equal(query_int(db, "SELECT count(*) FROM snapshot"), N);
    query_assert(db, "PRAGMA integrity_check", "ok");
    db_close(db);
}

static void test_a_full_file_system_leaves_the_old_snapshots(void **state) {
    (void)state;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", dir, "tmpfs", 0, "size=600k")) {
        print_message("skipped: only root may mount a small tmpfs\n");
        skip();
    }
    struct demo big = *larger();
    big.more_spans = 200;
    assert_int_equal(import_as(&big, DB_OBJECTS_RECORDED, NULL), -ENOSPC);
    assert_one_line("no space");
    assert_int_equal(nfiles(), 0);
    import(&demo_default);
    assert_int_equal(import_as(&big, DB_OBJECTS_RECORDED, NULL), -ENOSPC);
    assert_one_line("no space");
    assert_int_equal(nfiles(), 1);
    assert_only_the_first();
    umount(dir);
}

/* Root may write everywhere, so become somebody who may not. */
static void test_a_read_only_directory_is_refused(void **state) {
    (void)state;
    bool root = geteuid() == 0;
    import(&demo_default);
    chmod(path, 0444);
    chmod(dir, 0555);
    if (root && seteuid(65534))
        skip();
    assert_int_equal(import_as(larger(), DB_OBJECTS_NONE, NULL), -EACCES);
    assert_one_line(path);
    sqlite3 *db = open_file(); /* reading is no problem */
    query_assert(db, "SELECT count(*) FROM v1_snapshot", "1");
    db_close(db);
    strcat(path, "2");
    assert_int_equal(import_as(larger(), DB_OBJECTS_NONE, NULL), -EACCES);
    assert_one_line(path);
    if (root)
        assert_int_equal(seteuid(0), 0);
    chmod(dir, 0700);
    assert_int_equal(nfiles(), 1);
}

static void test_a_writable_file_in_a_read_only_directory_is_refused(void **state) {
    (void)state;
    bool root = geteuid() == 0;
    import(&demo_default);
    chmod(path, 0666);
    chmod(dir, 0555);
    if (root && seteuid(65534))
        skip();
    assert_true(import_as(larger(), DB_OBJECTS_NONE, NULL) < 0); /* no room for a journal */
    assert_one_line(path);
    if (root)
        assert_int_equal(seteuid(0), 0);
    chmod(dir, 0700);
    assert_only_the_first();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_an_imported_file_is_whole),
        TEST(test_the_same_image_twice_adds_nothing),
        TEST(test_snapshots_of_one_process_share_it_and_its_stacks),
        TEST(test_processes_are_told_apart),
        TEST(test_objects_are_stored_as_asked),
        TEST(test_leaked_objects_are_stored_if_a_check_has_found_any),
        TEST(test_weights_of_objects_add_up_to_the_sums),
        TEST(test_a_sample_of_objects_is_bounded_and_unbiased),
        TEST(test_an_import_tells_how_far_it_is_with_all_that_takes_long),
        TEST(test_an_empty_file_is_filled),
        TEST(test_odd_names_are_only_names),
        TEST(test_an_image_without_its_process_is_not_imported),
        TEST(test_refuses_another_application),
        TEST(test_refuses_another_version),
        TEST(test_refuses_what_is_no_database),
        TEST(test_refuses_a_file_cut_short),
        TEST(test_a_file_of_version_1_is_read_and_brought_up_to_date),
        TEST(test_a_file_of_version_2_is_read_and_brought_up_to_date),
        TEST(test_queries_cannot_change_anything),
        TEST(test_a_failed_write_leaves_no_new_file),
        TEST(test_a_killed_import_leaves_no_new_file_of_that_name),
        TEST(test_a_failed_write_leaves_the_old_snapshots),
        TEST(test_a_killed_import_leaves_the_old_snapshots),
        TEST(test_a_read_only_directory_is_refused),
        TEST(test_a_writable_file_in_a_read_only_directory_is_refused),
        TEST(test_imports_at_the_same_time_are_all_kept),
        TEST(test_a_full_file_system_leaves_the_old_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
