/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The leaks of a program that has been run.
 *
 * Each process leaves an image at its end: the program in FILE.gmi, those that it has started in
 * FILE.PID.gmi, or all in one FILE.db.  Each is shown by another goinspect, "goinspect leaks", on
 * standard error: standard output is the program's.
 */
#include "report/runleaks.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/savefile.h"
#include "target/target.h"

#define IMAGE "heap.gmi"

static int64_t nanoseconds(const struct timespec *t) {
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static char *copy_of(const char *name) {
    const char *value = getenv(name);
    return value ? must_dup(value) : NULL;
}

enum status runleaks_begin(struct runleaks *r, char **file, struct failure *failure) {
    const char *place = getenv("TMPDIR");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now); /* as for the times of files */
    r->begin_ns = nanoseconds(&now);
    r->preload = copy_of("LD_PRELOAD");
    r->options = copy_of("GOMALLOC");
    if (*file)
        return STATUS_DONE;
    if (!place || place[0] != '/' || strchr(place, ',')) /* which separates words of GOMALLOC */
        place = "/tmp";
    r->directory = must_format("%s/goinspect-XXXXXX", place);
    if (!mkdtemp(r->directory)) {
        fail(failure, STATUS_FAILURE, "cannot make a directory in %s for the images: %s", place,
             strerror(errno));
        free(r->directory);
        r->directory = NULL;
        return failure->status;
    }
    *file = must_format("%s/" IMAGE, r->directory);
    return STATUS_DONE;
}

/* ---- showing one -------------------------------------------------------------------------- */

static void restore(const char *name, const char *value) {
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void become_leaks(const struct runleaks *r, const char *file, const char *snapshot) {
    const char *argv[10 + 2 * SUPPRESS_FILES] = {"goinspect", "leaks", "--stacks"};
    size_t n = 3;
    for (size_t i = 0; i < r->suppressions.n; i++) {
        argv[n++] = "--suppressions";
        argv[n++] = r->suppressions.path[i];
    }
    if (snapshot) {
        argv[n++] = "--snapshot";
        argv[n++] = snapshot;
    }
    argv[n++] = "--";
    argv[n] = file;
    restore("LD_PRELOAD", r->preload);
    restore("GOMALLOC", r->options);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execv("/proc/self/exe", (char **)(uintptr_t)argv);
    say("cannot run goinspect: %s", strerror(errno));
    _exit(STATUS_FAILURE);
}

static enum status show_one(const struct runleaks *r, const char *file, const char *snapshot) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become_leaks(r, file, snapshot);
    if (pid < 0) {
        say("cannot show the leaks: %s", strerror(errno));
        return STATUS_FAILURE;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return STATUS_FAILURE;
    return WIFEXITED(status) ? (enum status)WEXITSTATUS(status) : STATUS_FAILURE;
}

static enum status worse(enum status a, enum status b) {
    return a > b ? a : b;
}

/* ---- those in a directory ----------------------------------------------------------------- */

/* is_of_child tells whether the name is that of an image of a process that the program has started,
 * "FILE.PID.gmi" beside "FILE.gmi", and which. */
static bool is_of_child(const char *name, const char *file, long *ret_pid) {
    size_t n = strlen(file) - strlen(".gmi");
    char *end;
    if (strncmp(name, file, n) != 0 || name[n] != '.')
        return false;
    *ret_pid = strtol(name + n + 1, &end, 10);
    return end != name + n + 1 && strcmp(end, ".gmi") == 0;
}

static bool is_new(const struct runleaks *r, const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && nanoseconds(&st.st_mtim) >= r->begin_ns;
}

static int by_version(const struct dirent **a, const struct dirent **b) {
    return strverscmp((*a)->d_name, (*b)->d_name);
}

/* show_children shows what the processes that it has started have left beside file. */
static enum status show_children(const struct runleaks *r, const char *file, int *nshown) {
    struct dirent **found;
    enum status status = STATUS_DONE;
    const char *slash = strrchr(file, '/'); /* the path is an absolute one */
    char *directory = must_dup_n(file, (size_t)(slash - file) + 1);
    int n = scandir(directory, &found, NULL, by_version);
    for (int i = 0; i < n; i++) {
        long pid;
        char *path = must_format("%s%s", directory, found[i]->d_name);
        if (is_of_child(found[i]->d_name, slash + 1, &pid) && is_new(r, path)) {
            say("process %ld, which it has started:", pid);
            status = worse(status, show_one(r, path, NULL));
            ++*nshown;
        }
        free(path);
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    free(directory);
    return status;
}

static enum status show_files(const struct runleaks *r, const char *file, int *nshown) {
    enum status status = STATUS_DONE;
    if (is_new(r, file)) {
        status = show_one(r, file, NULL);
        ++*nshown;
    }
    return worse(status, show_children(r, file, nshown));
}

/* ---- those in a database ------------------------------------------------------------------ */

static const char sql[] = "SELECT snapshot_id, pid FROM v1_snapshot"
                          " WHERE kind = 'exit' AND captured_ns >= ?1 ORDER BY pid <> ?2, 1";

static enum status show_rows(const struct runleaks *r, const char *file, pid_t pid,
                             sqlite3_stmt *rows, int *nshown) {
    enum status status = STATUS_DONE;
    while (sqlite3_step(rows) == SQLITE_ROW) {
        long long child = sqlite3_column_int64(rows, 1);
        if (child != pid)
            say("process %lld, which it has started:", child);
        status = worse(status, show_one(r, file, (const char *)sqlite3_column_text(rows, 0)));
        ++*nshown;
    }
    return status;
}

static enum status show_snapshots(const struct runleaks *r, const char *file, pid_t pid,
                                  int *nshown) {
    struct failure failure = {.status = STATUS_DONE};
    struct target target;
    sqlite3_stmt *rows = NULL;
    enum status status = STATUS_FAILURE;
    if (target_open(file, NULL, &target, &failure) != STATUS_DONE)
        return say_failure(&failure);
    if (sqlite3_prepare_v2(target.db, sql, -1, &rows, NULL) == SQLITE_OK &&
        sqlite3_bind_int64(rows, 1, r->begin_ns) == SQLITE_OK &&
        sqlite3_bind_int64(rows, 2, pid) == SQLITE_OK)
        status = show_rows(r, file, pid, rows, nshown);
    sqlite3_finalize(rows);
    target_close(&target);
    return status;
}

enum status runleaks_show(const struct runleaks *r, const char *file, pid_t pid,
                          const char *program) {
    int nshown = 0;
    enum status status = STATUS_DONE;
    if (savefile_kind(file) == 'g')
        status = show_files(r, file, &nshown);
    else if (access(file, R_OK) == 0)
        status = show_snapshots(r, file, pid, &nshown);
    if (nshown || status != STATUS_DONE)
        return status;
    say("no leak check: %s may be statically linked or setuid, or have ended by a signal, exec or "
        "_exit",
        program);
    return STATUS_FAILURE;
}

void runleaks_end(struct runleaks *r) {
    struct dirent *entry;
    DIR *directory = r->directory ? opendir(r->directory) : NULL;
    while (directory && (entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    if (r->directory)
        rmdir(r->directory);
    free(r->directory);
    free(r->preload);
    free(r->options);
    *r = (struct runleaks){.directory = NULL};
}
