/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which process or file a word on the command line means, and opening it.
 *
 * Digits are a process.  What ends in .gmi or .db or holds a slash is a file.  Anything else is the
 * name of a process under gomalloc, or else of a file.
 */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/cgroup.h"
#include "target/at.h"
#include "target/client.h"
#include "db/db.h"
#include "target/place.h"
#include "names/symbol.h"
#include "target/target.h"

#define MOST_NAMED 16 /* processes of one name that a message lists */

enum status status_of_error(int error) {
    switch (error) {
    case 0:
        return STATUS_DONE;
    case IMAGE_VERSION:
        return STATUS_BAD_VERSION;
    case -ENOENT:
        return STATUS_NO_TARGET;
    case -EACCES:
    case -EPERM:
        return STATUS_FORBIDDEN;
    default:
        return STATUS_FAILURE;
    }
}

/* Processes called by one name. */
struct named {
    const char *name;
    struct proc with_socket[MOST_NAMED];
    size_t nwith_socket;
    struct proc other; /* the last one without a socket */
    size_t nothers;
};

static bool visit_named(const struct proc *proc, void *context) {
    struct named *named = context;
    if (proc->pid == getpid() || !proc_is_called(proc, named->name))
        return true;
    if (!place_exists(proc)) {
        named->other = *proc;
        named->nothers++;
    } else if (named->nwith_socket < MOST_NAMED)
        named->with_socket[named->nwith_socket++] = *proc;
    return true;
}

static enum status fail_ambiguous(const struct named *named, struct failure *failure) {
    char list[512] = "";
    for (size_t i = 0; i < named->nwith_socket && strlen(list) < sizeof(list) - 96; i++) {
        char command[64];
        proc_command(named->with_socket[i].pid, command, sizeof(command));
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%d (%s)", i ? ", " : "",
                 (int)named->with_socket[i].pid, command);
    }
    return fail(failure, STATUS_NO_TARGET, "'%s' is several processes; choose one: %s", named->name,
                list);
}

static bool is_number(const char *word) {
    return word[0] && strspn(word, "0123456789") == strlen(word);
}

/* find_named finds the one process called word that can be asked.  *ret is 0 if none is called so
 * at all. */
static enum status find_named(const char *word, pid_t *ret, struct failure *failure) {
    struct named named = {.name = word};
    proc_each(visit_named, &named);
    *ret = 0;
    if (named.nwith_socket > 1)
        return fail_ambiguous(&named, failure);
    if (named.nwith_socket == 1)
        *ret = named.with_socket[0].pid;
    else if (named.nothers)
        *ret = named.other.pid; /* the client will say why it can't be asked */
    return STATUS_DONE;
}

enum status target_pid(const char *word, pid_t *ret, struct failure *failure) {
    if (is_number(word)) {
        long long pid = strtoll(word, NULL, 10);
        if (pid <= 0 || pid > INT32_MAX)
            return fail(failure, STATUS_NO_TARGET, "no process %s: pids go from 1 to %d", word,
                        INT32_MAX);
        *ret = (pid_t)pid;
        return STATUS_DONE;
    }
    enum status status = find_named(word, ret, failure);
    if (status == STATUS_DONE && *ret == 0 && access(word, F_OK) == 0)
        return fail(failure, STATUS_NO_TARGET,
                    "%s is a file, and no process is called so: this is done to a live process; "
                    "\"goinspect ps\" lists those that can be asked",
                    word);
    if (status == STATUS_DONE && *ret == 0)
        return fail(failure, STATUS_NO_TARGET,
                    "no process called '%s'; \"goinspect ps\" lists those that can be asked", word);
    return status;
}

static bool ends_in(const char *word, const char *suffix) {
    size_t n = strlen(word), m = strlen(suffix);
    return n > m && strcmp(word + n - m, suffix) == 0;
}

/* classify decides what word means; *ret_pid for a process. */
static enum status classify(const char *word, enum target_kind *ret, pid_t *ret_pid,
                            struct failure *failure) {
    bool file = strchr(word, '/') || ends_in(word, ".gmi") || ends_in(word, ".db");
    *ret_pid = 0;
    *ret = TARGET_PROCESS;
    if (is_number(word))
        return target_pid(word, ret_pid, failure);
    if (!file) {
        enum status status = find_named(word, ret_pid, failure);
        if (status != STATUS_DONE || *ret_pid)
            return status;
        if (access(word, F_OK) != 0)
            return fail(failure, STATUS_NO_TARGET,
                        "no process and no file called '%s'; \"goinspect ps\" lists the processes "
                        "that can be asked",
                        word);
    }
    *ret = db_is_database(word) ? TARGET_DATABASE : TARGET_IMAGE;
    return STATUS_DONE;
}

/* check_file catches what is neither an image nor a database, with a word of its own for each. */
static enum status check_file(const char *path, struct failure *failure) {
    unsigned char head[18] = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(failure, status_of_error(-errno), "%s: %s%s", path, strerror(errno),
                    errno == EACCES   ? "; try as its owner or root"
                    : errno == ENOENT ? "; \"goinspect snapshot PID -o FILE\" makes such files"
                                      : "");
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t n = regular ? pread(fd, head, sizeof(head), 0) : 0;
    close(fd);
    if (!regular)
        return fail(failure, STATUS_FAILURE, "%s is not a file: a FILE.gmi or FILE.db is wanted",
                    path);
    if (n == sizeof(head) && memcmp(head, ELFMAG, SELFMAG) == 0)
        return fail(failure, STATUS_FAILURE,
                    head[16] == ET_CORE
                        ? "%s is a core file: this version of goinspect can't read those; take "
                          "images with \"goinspect snapshot\" or GOMALLOC=exit=FILE.gmi"
                        : "%s is a program, not an image: run it with \"goinspect run -- ./%s\"",
                    path, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    return STATUS_DONE;
}

/* set_root has files of the process looked up as the process sees them: it may be in a container.
 */
static void set_root(pid_t pid) {
    char root[64];
    struct stat ours, theirs;
    snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
    bool elsewhere = stat(root, &theirs) == 0 && stat("/", &ours) == 0 &&
                     (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino);
    symbolizer_root(elsewhere ? root : "");
}

/* What a process is asked for. */
struct question {
    enum gomalloc_verb verb; /* IMAGE or WHY */
    uint64_t arg;
};

/* take_image opens what has come, and closes the descriptor. */
static enum status take_image(const struct client *client, int fd, struct image **ret,
                              struct failure *failure) {
    char name[96], text[sizeof(failure->text)] = "";
    snprintf(name, sizeof(name), "image of process %d (%s)", (int)client->proc.pid,
             client->proc.comm);
    int error = image_open_fd(fd, name, ret, text, sizeof(text));
    close(fd);
    return error ? fail(failure, status_of_error(error), "%s", text) : STATUS_DONE;
}

static enum status fetch(pid_t pid, const struct question *question, double patience,
                         struct image **ret, struct failure *failure) {
    struct client client;
    struct gomalloc_reply reply = {.status = GOMALLOC_OK};
    int fd = -1;
    enum status status = client_open(pid, patience, &client, failure);
    if (status != STATUS_DONE)
        return status;
    /* a short question first: who does not answer it will not send an image either */
    status = client_call(&client, GOMALLOC_VERB_PING, 0, &reply, NULL, failure);
    if (status == STATUS_DONE)
        status = client_call(&client, question->verb, question->arg, &reply, &fd, failure);
    if (status == STATUS_DONE)
        status = take_image(&client, fd, ret, failure);
    else if (question->verb == GOMALLOC_VERB_WHY && reply.status == GOMALLOC_BAD_REQUEST)
        status = fail(failure, STATUS_BAD_VERSION,
                      "process %d (%s) can't say who points to an object: its library is older "
                      "than goinspect",
                      (int)pid, client.proc.comm);
    client_close(&client);
    return status;
}

enum status fetch_image(pid_t pid, uint64_t sections, double patience, struct image **ret,
                        struct failure *failure) {
    const struct question question = {GOMALLOC_VERB_IMAGE, sections};
    return fetch(pid, &question, patience, ret, failure);
}

/* load gets the image of a target that is not a database. */
static enum status load(struct target *t, const struct question *question,
                        struct failure *failure) {
    char text[sizeof(failure->text)] = "";
    if (t->kind == TARGET_PROCESS) {
        set_root(t->pid);
        return fetch(t->pid, question, 0, &t->image, failure);
    }
    enum status status = check_file(t->word, failure);
    if (status != STATUS_DONE)
        return status;
    int error = image_open(t->word, &t->image, text, sizeof(text));
    return error ? fail(failure, status_of_error(error), "%s", text) : STATUS_DONE;
}

enum status target_image(const char *word, uint64_t sections, struct target *ret,
                         struct failure *failure) {
    *ret = (struct target){.word = word};
    enum status status = classify(word, &ret->kind, &ret->pid, failure);
    if (status != STATUS_DONE)
        return status;
    if (ret->kind == TARGET_DATABASE)
        return fail(failure, STATUS_USAGE,
                    "%s is a snapshot file already; a process or a FILE.gmi is wanted", word);
    const struct question question = {GOMALLOC_VERB_IMAGE, sections};
    return load(ret, &question, failure);
}

/* choose_snapshot sets target->snapshot. */
static enum status choose_snapshot(struct target *t, const char *snapshot,
                                   struct failure *failure) {
    t->snapshot = db_latest_snapshot(t->db);
    if (t->snapshot == 0)
        return fail(failure, STATUS_NO_TARGET,
                    "%s holds no snapshot yet; add one with \"goinspect snapshot PID -o %s\"",
                    t->word, t->word);
    if (!snapshot || strcmp(snapshot, "latest") == 0)
        return STATUS_DONE;
    sqlite3_stmt *stmt = NULL;
    const char *sql = strcmp(snapshot, "first") == 0
                          ? "SELECT snapshot_id FROM snapshot ORDER BY captured_ns, snapshot_id"
                          : "SELECT snapshot_id FROM snapshot WHERE snapshot_id = ?";
    bool found = sqlite3_prepare_v2(t->db, sql, -1, &stmt, NULL) == SQLITE_OK;
    if (found)
        sqlite3_bind_int64(stmt, 1, strtoll(snapshot, NULL, 10));
    found = found && sqlite3_step(stmt) == SQLITE_ROW;
    if (found)
        t->snapshot = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    if (!found)
        return fail(failure, STATUS_NO_TARGET,
                    "%s has no snapshot %s; \"goinspect sql %s 'SELECT * FROM v1_snapshot'\" lists "
                    "them",
                    t->word, snapshot, t->word);
    return STATUS_DONE;
}

/* check_only refuses a snapshot of what has just one, before a process is asked for it. */
static enum status check_only(const struct target *t, const char *snapshot,
                              struct failure *failure) {
    if (!snapshot || t->kind == TARGET_DATABASE || strcmp(snapshot, "latest") == 0 ||
        strcmp(snapshot, "first") == 0 || strtoll(snapshot, NULL, 10) == 1)
        return STATUS_DONE;
    return fail(failure, STATUS_NO_TARGET,
                "%s has no snapshot %s: %s is one, number 1; those of a FILE.db can be chosen",
                t->word, snapshot, t->kind == TARGET_PROCESS ? "a process" : "an image");
}

/* split takes FILE.db@N apart. */
static enum status split(struct target *t, const char **snapshot, struct failure *failure) {
    const char *at;
    if (!at_split(t->word, &t->file, &at))
        return STATUS_DONE;
    if (*snapshot)
        return fail(failure, STATUS_USAGE, "%s chooses a snapshot, and so does --snapshot",
                    t->word);
    t->word = t->file;
    *snapshot = at;
    return STATUS_DONE;
}

static enum status open_with(const char *word, const char *snapshot,
                             const struct question *question, struct target *ret,
                             struct failure *failure) {
    char text[sizeof(failure->text)] = "";
    *ret = (struct target){.word = word};
    enum status status = split(ret, &snapshot, failure);
    if (status == STATUS_DONE)
        status = classify(ret->word, &ret->kind, &ret->pid, failure);
    if (status == STATUS_DONE)
        status = check_only(ret, snapshot, failure);
    if (status != STATUS_DONE) {
        target_close(ret);
        return status;
    }
    word = ret->word;
    if (ret->kind == TARGET_DATABASE) {
        int error = db_open_file(word, &ret->db, text, sizeof(text));
        status = error ? fail(failure, status_of_error(error), "%s", text) : STATUS_DONE;
    } else {
        status = load(ret, question, failure);
        int error = status ? 0 : db_open_image(ret->image, &ret->db, text, sizeof(text));
        if (error)
            status = fail(failure, status_of_error(error), "%s", text);
    }
    if (status == STATUS_DONE && cgroup_create(ret->db, ret->pid) != SQLITE_OK)
        status = fail(failure, STATUS_FAILURE, "%s: %s", word, sqlite3_errmsg(ret->db));
    if (status == STATUS_DONE)
        status = choose_snapshot(ret, snapshot, failure);
    if (status != STATUS_DONE)
        target_close(ret);
    return status;
}

enum status target_open_asking(const char *word, const char *snapshot, uint64_t sections,
                               struct target *ret, struct failure *failure) {
    const struct question question = {GOMALLOC_VERB_IMAGE, sections};
    return open_with(word, snapshot, &question, ret, failure);
}

enum status target_open_why(const char *word, const char *snapshot, uint64_t arg,
                            struct target *ret, struct failure *failure) {
    const struct question question = {GOMALLOC_VERB_WHY, arg};
    return open_with(word, snapshot, &question, ret, failure);
}

enum status target_open(const char *word, const char *snapshot, struct target *ret,
                        struct failure *failure) {
    return target_open_asking(word, snapshot, TARGET_EVERYTHING, ret, failure);
}

void target_close(struct target *target) {
    db_close(target->db);
    image_close(target->image);
    free(target->file);
    target->db = NULL;
    target->image = NULL;
    target->file = NULL;
}
