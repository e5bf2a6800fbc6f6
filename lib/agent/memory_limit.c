/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The limit on the memory of a control group.
 *
 * /proc/PID/cgroup names the group: in version 2 of control groups in the line "0::/PATH", in
 * version 1 in the one of the controller "memory".  The path is below the mount point, which is
 * where every system has it.  In a container the path may be the host's while the mount shows the
 * container's own group as the root: what is not there is passed over, and the root is always
 * looked at.  A limit of any group around ours holds for us too, so all are asked.
 *
 *      version 2    /sys/fs/cgroup/PATH/memory.max           memory.current     "max": none
 *      version 1    /sys/fs/cgroup/memory/PATH/memory.limit_in_bytes, memory.usage_in_bytes
 */
#include "agent/memory_limit.h"

#include <string.h>

#include "image/rawfile.h"
#include "sys/fmt.h"

#define NO_LIMIT ((uint64_t)1 << 62) /* version 1 has a huge number for none */

static const struct version {
    const char *dir, *limit, *usage; /* dir: below the root */
} versions[] = {
    {"", "/memory.max", "/memory.current"},
    {"/memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes"},
};

/* Where one looks, and what is found. */
struct search {
    struct memory_limit *found;
    const char *root; /* where control groups are mounted */
};

/* start_path begins the path of a group: its part below the mount point has n bytes. */
static void start_path(struct fmt *f, const struct search *s, const struct version *v,
                       const char *path, size_t n) {
    fmt_str(f, s->root);
    fmt_str(f, v->dir);
    fmt_mem(f, path, n);
}

/* read_number returns the number in a file, or `missing`. */
static uint64_t read_number(const char *path, uint64_t missing) {
    char text[64];
    long n = raw_read_file(path, text, sizeof text);
    uint64_t v;
    while (n > 0 && text[n - 1] == '\n')
        n--;
    return n > 0 && parse_uint(text, (size_t)n, &v) ? v : missing;
}

/* add looks at one group: its path below the root, of n bytes. */
static void add(const struct search *s, const struct version *v, const char *path, size_t n) {
    struct memory_limit *m = s->found;
    char name[4096];
    struct fmt f = fmt_on(name, sizeof name);
    start_path(&f, s, v, path, n);
    fmt_str(&f, v->limit);
    uint64_t limit = f.cut ? NO_LIMIT : read_number(name, NO_LIMIT);
    if (limit == 0 || limit >= NO_LIMIT || m->n == MEMORY_LIMIT_LEVELS)
        return;
    struct memory_limit_group *g = &m->group[m->n];
    f = fmt_on(g->usage, sizeof g->usage);
    start_path(&f, s, v, path, n);
    fmt_str(&f, v->usage);
    g->limit = limit;
    m->n += !f.cut;
}

/* add_all looks at the group and at those around it. */
static void add_all(const struct search *s, const struct version *v, const char *path, size_t n) {
    while (n > 0 && path[n - 1] == '/')
        n--;
    for (;;) {
        add(s, v, path, n);
        if (n == 0)
            return;
        while (n > 0 && path[n - 1] != '/')
            n--;
        n -= n > 0;
    }
}

/* has_memory tells whether a list of controllers, of n bytes, has the one of memory. */
static bool has_memory(const char *list, size_t n) {
    while (n > 0) {
        const char *comma = memchr(list, ',', n);
        size_t k = comma != NULL ? (size_t)(comma - list) : n;
        if (k == 6 && memcmp(list, "memory", 6) == 0)
            return true;
        k += comma != NULL;
        list += k;
        n -= k;
    }
    return false;
}

/* find_in_line takes "HIERARCHY:CONTROLLERS:PATH". */
static void find_in_line(const struct search *s, const char *line, size_t n) {
    const char *list = memchr(line, ':', n);
    const char *path = list != NULL ? memchr(list + 1, ':', n - (size_t)(list + 1 - line)) : NULL;
    if (path == NULL)
        return;
    size_t nlist = (size_t)(path - list) - 1, npath = n - (size_t)(path + 1 - line);
    if (nlist == 0 && line[0] == '0')
        add_all(s, &versions[0], path + 1, npath);
    else if (has_memory(list + 1, nlist))
        add_all(s, &versions[1], path + 1, npath);
}

void memory_limit_find_in(struct memory_limit *m, const char *groups, const char *root) {
    const struct search s = {m, root};
    m->n = 0;
    for (const char *line = groups; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        find_in_line(&s, line, n);
        line += n + (line[n] == '\n');
    }
}

void memory_limit_find(struct memory_limit *m) {
    char text[8192];
    /* Not of the first thread, which may have ended. */
    raw_read_file("/proc/thread-self/cgroup", text, sizeof text); /* or empty */
    memory_limit_find_in(m, text, "/sys/fs/cgroup");
}

unsigned memory_limit_percent(const struct memory_limit *m) {
    unsigned most = 0;
    for (unsigned i = 0; i < m->n; i++) {
        uint64_t used = read_number(m->group[i].usage, 0);
        unsigned percent = (unsigned)(used < NO_LIMIT / 100 ? used * 100 / m->group[i].limit : 0);
        if (percent > most)
            most = percent;
    }
    return most;
}
