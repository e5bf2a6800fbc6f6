/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The memory of a process's cgroup, version 2 or 1.
 *
 * /proc/PID/cgroup has a line NUMBER:CONTROLLERS:PATH for each hierarchy; that of version 2 has no
 * controllers.  Any cgroup on the way up may have a limit, and the one that is nearest to its limit
 * is the one that will be met first.  In a container the path may be one of outside, of which
 * nothing is mounted: then only the root of what is mounted is looked at, which is the container's
 * own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/cgroup.h"
#include "base/say.h"

#define DEFAULT_ROOT "/sys/fs/cgroup"
#define NO_LIMIT     (INT64_C(1) << 62) /* version 1 says "none" by nearly 2^63 */

struct files {
    const char *below; /* the root: where this version's hierarchy is */
    const char *used;
    const char *limit;
};

static const struct files version_2 = {"", "memory.current", "memory.max"};
static const struct files version_1 = {"/memory", "memory.usage_in_bytes", "memory.limit_in_bytes"};

/* read_number reads a file of one number; "max" is 0. */
static bool read_number(const char *folder, const char *name, int64_t *ret) {
    char *path = must_format("%s/%s", folder, name), text[32] = "";
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(text, sizeof(text), f);
    char *end = text;
    free(path);
    if (f)
        fclose(f);
    if (!ok)
        return false;
    *ret = strtoll(text, &end, 10);
    if (strncmp(text, "max", 3) == 0 || *ret >= NO_LIMIT)
        *ret = 0;
    else if (end == text || *ret < 0)
        return false;
    return true;
}

static double fullness(const struct cgroup_memory *m) {
    return m->limit > 0 ? (double)m->used / (double)m->limit : 0;
}

/* read_upwards reads the cgroup at path and those above; path is cut. */
static bool read_upwards(const char *root, const struct files *files, char *path,
                         struct cgroup_memory *ret) {
    bool found = false;
    for (size_t n = strlen(path);; n = strlen(path)) {
        struct cgroup_memory m;
        while (n > 0 && path[n - 1] == '/')
            path[--n] = '\0';
        char *folder = must_format("%s%s%s", root, files->below, path);
        bool ok = read_number(folder, files->used, &m.used) &&
                  read_number(folder, files->limit, &m.limit);
        free(folder);
        if (ok && (!found || fullness(&m) > fullness(ret))) {
            *ret = m;
            found = true;
        }
        if (n == 0)
            return found;
        *strrchr(path, '/') = '\0';
    }
}

/* files_of tells of which version a line is, NULL: it is not about memory. */
static const struct files *files_of(const char *controllers, size_t n) {
    if (n == 0)
        return &version_2;
    for (const char *p = controllers, *end = p + n; p < end; p += strcspn(p, ",:") + 1)
        if (strncmp(p, "memory", 6) == 0 && (p[6] == ',' || p[6] == ':'))
            return &version_1;
    return NULL;
}

bool cgroup_read(const char *root, pid_t pid, struct cgroup_memory *ret) {
    char name[64], *line = NULL;
    size_t room = 0;
    bool found = false;
    snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
    FILE *f = fopen(name, "re");
    while (f && !found && getline(&line, &room, f) > 0) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path || path[1] != '/')
            continue;
        const struct files *files = files_of(controllers + 1, (size_t)(path - controllers - 1));
        path[strcspn(path, "\n")] = '\0';
        found = files && read_upwards(root, files, path + 1, ret);
    }
    free(line);
    if (f)
        fclose(f);
    return found;
}

static void used_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const struct cgroup_memory *m = sqlite3_user_data(ctx);
    (void)argc, (void)argv;
    if (m->used >= 0)
        sqlite3_result_int64(ctx, m->used);
}

static void limit_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const struct cgroup_memory *m = sqlite3_user_data(ctx);
    (void)argc, (void)argv;
    if (m->used >= 0)
        sqlite3_result_int64(ctx, m->limit);
}

int cgroup_create(sqlite3 *db, pid_t pid) {
    const char *given = getenv("GOINSPECT_CGROUP");
    struct cgroup_memory *m = must_calloc(1, sizeof(*m)), *copy = must_calloc(1, sizeof(*m));
    if (pid == 0 || !cgroup_read(given && given[0] ? given : DEFAULT_ROOT, pid, m))
        m->used = -1;
    *copy = *m;
    int rc = sqlite3_create_function_v2(db, "cgroup_used", 0, SQLITE_UTF8, m, used_function, NULL,
                                        NULL, free);
    if (rc != SQLITE_OK) {
        free(copy); /* SQLite has freed m */
        return rc;
    }
    return sqlite3_create_function_v2(db, "cgroup_limit", 0, SQLITE_UTF8, copy, limit_function,
                                      NULL, NULL, free);
}
