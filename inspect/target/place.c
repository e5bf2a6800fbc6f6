/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a process's socket is (the rule: gomalloc/agent.h).
 *
 * The directory comes from the environment of the process, which need not be ours, and its path
 * means what it means to the process: in a container, or under systemd's PrivateTmp, /tmp is
 * another /tmp.  So each candidate is tried below /proc/PID/root with the pid that the process has
 * in its own namespace, and then as we see it.  /proc/PID/root is closed for processes that may not
 * be traced; the second try serves those.
 *
 * Nothing is connected to that does not belong to the process's user: a socket that somebody else
 * put into a shared directory is refused here, and client.c looks at the peer's credentials too.
 * Root may ask a server that began as root and is another user by now: its socket is root's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "target/place.h"

#define MOST_DIRS 8

/* Candidates for the socket directory, absolute paths. */
struct dirs {
    char *path[MOST_DIRS];
    size_t n;
};

static void add_dir(struct dirs *dirs, const char *base, const char *rest, pid_t relative_to) {
    char *path;
    if (!base || !base[0] || dirs->n == MOST_DIRS)
        return;
    if (base[0] == '/')
        path = must_format("%s%s", base, rest);
    else if (relative_to)
        path = must_format("/proc/%d/cwd/%s%s", (int)relative_to, base, rest);
    else
        return;
    for (size_t i = 0; i < dirs->n; i++)
        if (strcmp(dirs->path[i], path) == 0) {
            free(path);
            return;
        }
    dirs->path[dirs->n++] = path;
}

static void add_user_dirs(struct dirs *dirs, uid_t uid) {
    char path[64];
    snprintf(path, sizeof(path), "/run/user/%u", (unsigned)uid);
    add_dir(dirs, path, "/gomalloc", 0);
    snprintf(path, sizeof(path), "/tmp/gomalloc-%u", (unsigned)uid);
    add_dir(dirs, path, "", 0);
}

static void candidates(const struct proc *proc, struct dirs *dirs) {
    char *value = proc_environ(proc->pid, "GOMALLOC_DIR");
    add_dir(dirs, value, "", proc->pid);
    free(value);
    value = proc_environ(proc->pid, "XDG_RUNTIME_DIR");
    add_dir(dirs, value, "/gomalloc", proc->pid);
    free(value);
    add_dir(dirs, getenv("GOMALLOC_DIR"), "", 0);
    add_dir(dirs, getenv("XDG_RUNTIME_DIR"), "/gomalloc", 0);
    add_user_dirs(dirs, proc->euid);
    if (proc->uid != proc->euid)
        add_user_dirs(dirs, proc->uid);
    if (geteuid() == 0)
        add_user_dirs(dirs, 0);
}

static void free_dirs(struct dirs *dirs) {
    for (size_t i = 0; i < dirs->n; i++)
        free(dirs->path[i]);
}

/* try_place tells whether there is a socket PID.sock in dir, and opens the directory. */
static bool try_place(const char *dir, pid_t pid, struct place *ret) {
    struct stat st;
    ret->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (ret->dir < 0)
        return false;
    snprintf(ret->name, sizeof(ret->name), "%d.sock", (int)pid);
    if (fstatat(ret->dir, ret->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode)) {
        snprintf(ret->path, sizeof(ret->path), "%s/%s", dir, ret->name);
        ret->owner = st.st_uid;
        return true;
    }
    close(ret->dir);
    ret->dir = -1;
    return false;
}

static bool search(const struct proc *proc, struct place *ret) {
    struct dirs dirs = {.n = 0};
    bool found = false;
    candidates(proc, &dirs);
    for (size_t i = 0; i < dirs.n && !found; i++) {
        /* the process's working directory is as the process sees it already */
        bool own_view = strncmp(dirs.path[i], "/proc/", 6) == 0;
        char *path = own_view ? must_dup(dirs.path[i])
                              : must_format("/proc/%d/root%s", (int)proc->pid, dirs.path[i]);
        found = try_place(path, proc->ns_pid, ret);
        free(path);
        if (found && !own_view) /* people know it by the shorter name */
            snprintf(ret->path, sizeof(ret->path), "%s/%s", dirs.path[i], ret->name);
        if (!found && !own_view)
            found = try_place(dirs.path[i], proc->pid, ret);
    }
    free_dirs(&dirs);
    return found;
}

/* search_while_young searches again and again while the library may still make its socket.  A
 * process without the library may be about to execute the program, or to load it. */
static bool search_while_young(const struct proc *proc, double young, struct place *ret) {
    const struct timespec step = {.tv_nsec = 10000000};
    while (!search(proc, ret)) {
        double age = proc_age(proc->pid);
        int has = proc_has_library(proc->pid);
        if (age < 0 || has < 0 || age >= (has ? young : young / 4))
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

static void user_name(uid_t uid, char *buf, size_t size) {
    struct passwd *user = getpwuid(uid);
    if (user)
        snprintf(buf, size, "%s", user->pw_name);
    else
        snprintf(buf, size, "%u", (unsigned)uid);
}

static enum status fail_not_found(const struct proc *proc, struct failure *failure) {
    struct proc now = *proc;
    if (proc_read(proc->pid, &now) == -ESRCH)
        return fail(failure, STATUS_NO_TARGET, "process %d (%s) has ended", (int)proc->pid,
                    proc->comm);
    if (now.state == 'Z')
        return fail(failure, STATUS_NO_TARGET,
                    "process %d (%s) has ended; its parent has not noticed", (int)now.pid,
                    now.comm);
    if (proc_has_library(now.pid) == 1)
        return fail(
            failure, STATUS_NO_TARGET,
            "process %d (%s) runs under gomalloc but has no socket: it was started with "
            "agent=off, or GOMALLOC_DIR names a directory that is not there, or not private",
            (int)now.pid, now.comm);
    return fail(
        failure, STATUS_NO_TARGET,
        "process %d (%s) does not run under gomalloc: start it with \"goinspect run -- %s\", "
        "or with LD_PRELOAD=libgomalloc.so",
        (int)now.pid, now.comm, now.comm);
}

enum status place_find(const struct proc *proc, double young, struct place *ret,
                       struct failure *failure) {
    char owner[64], user[64];
    uid_t me = geteuid();
    user_name(proc->euid, user, sizeof(user));
    if (me != 0 && me != proc->euid && me != proc->uid)
        return fail(failure, STATUS_FORBIDDEN,
                    "process %d (%s) belongs to %s: only %s and root may ask it (try sudo)",
                    (int)proc->pid, proc->comm, user, user);
    if (!search_while_young(proc, young, ret))
        return fail_not_found(proc, failure);
    if (ret->owner == proc->euid || ret->owner == proc->uid || (ret->owner == 0 && me == 0))
        return STATUS_DONE;
    close(ret->dir);
    ret->dir = -1;
    user_name(ret->owner, owner, sizeof(owner));
    return fail(failure, STATUS_FORBIDDEN,
                "%s belongs to %s, process %d to %s: not connecting; remove the socket if it is "
                "left over",
                ret->path, owner, (int)proc->pid, user);
}

bool place_exists(const struct proc *proc) {
    struct place place;
    uid_t me = geteuid();
    if ((me != 0 && me != proc->euid && me != proc->uid) || !search(proc, &place))
        return false;
    close(place.dir);
    return true;
}

static void each_stale_in(const char *path, void (*visit)(const char *, pid_t, void *),
                          void *context) {
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        struct proc proc;
        if (pid <= 0 || strcmp(end, ".sock") != 0 || proc_read((pid_t)pid, &proc) != -ESRCH)
            continue;
        char *socket = must_format("%s/%s", path, entry->d_name);
        visit(socket, (pid_t)pid, context);
        free(socket);
    }
    closedir(dir);
}

void place_each_stale(void (*visit)(const char *path, pid_t pid, void *context), void *context) {
    struct dirs dirs = {.n = 0};
    add_dir(&dirs, getenv("GOMALLOC_DIR"), "", getpid());
    add_dir(&dirs, getenv("XDG_RUNTIME_DIR"), "/gomalloc", 0);
    add_user_dirs(&dirs, geteuid());
    for (size_t i = 0; i < dirs.n; i++)
        each_stale_in(dirs.path[i], visit, context);
    free_dirs(&dirs);
}
