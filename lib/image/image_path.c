/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The path of an image.
 *
 * Computed when it is written: the process may have been forked, or be another program, since.  No
 * libc call that locks or allocates, so that it can be done in a signal handler, too.
 */
#include "image/image_path.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "image/rawfile.h"

static int root_pid; /* who was started with the option; 0 = not known */

void image_path_claim_root(void) {
    const char *mark = getenv(IMAGE_PATH_ROOT);
    uint64_t pid = 0;
    if (mark != NULL && parse_uint(mark, strlen(mark), &pid) && pid <= INT_MAX) {
        root_pid = (int)pid;
        return;
    }
    char text[24];
    struct fmt f = fmt_on(text, sizeof text);
    root_pid = raw_getpid();
    fmt_uint(&f, (uint64_t)root_pid);
    setenv(IMAGE_PATH_ROOT, text, 1);
}

static void expand_one(struct fmt *f, char what, const struct image_path_values *v) {
    struct utsname name;
    if (what == 'p')
        fmt_uint(f, (uint64_t)raw_getpid());
    else if (what == 'h' && sys_call3(SYS_uname, (long)&name, 0, 0) == 0)
        fmt_str(f, name.nodename);
    else if (what == 't')
        fmt_uint(f, v->time_s);
    else if (what == 'n' && v->number != 0)
        fmt_uint(f, v->number);
    else if (what == '%')
        fmt_char(f, '%');
    else if (what != 'h') { /* not ours: leave it as it stands */
        fmt_char(f, '%');
        fmt_char(f, what);
    }
}

/* insert_pid puts ".PID" before the suffix of the last part of the path. */
static void insert_pid(struct fmt *f) {
    char suffix[NAME_MAX + 1] = "";
    const char *slash = strrchr(f->buf, '/');
    char *dot = strrchr(slash != NULL ? slash : f->buf, '.');
    if (dot != NULL && strlen(dot) < sizeof suffix) {
        strcpy(suffix, dot);
        *dot = '\0';
        f->len = (size_t)(dot - f->buf);
    }
    fmt_char(f, '.');
    fmt_uint(f, (uint64_t)raw_getpid());
    fmt_str(f, suffix);
}

bool image_path_is_database(const struct fmt *f) {
    return f->len > 3 && memcmp(f->buf + f->len - 3, ".db", 3) == 0;
}

void image_path(struct fmt *f, const char *template, struct image_path_values v) {
    bool has_pid = false;
    for (const char *p = template; *p != '\0'; p++) {
        if (*p != '%' || p[1] == '\0') {
            fmt_char(f, *p);
            continue;
        }
        has_pid |= *++p == 'p';
        expand_one(f, *p, &v);
    }
    if (!has_pid && !image_path_is_database(f) && root_pid != 0 && root_pid != raw_getpid())
        insert_pid(f);
}
