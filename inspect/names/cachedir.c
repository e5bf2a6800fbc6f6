/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The user's directory of what goinspect could find out again.
 *
 * With sudo, HOME may be another user's.  Files of root's there would be in that user's way, so a
 * place is used only if it belongs to who we are.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "names/cachedir.h"
#include "base/say.h"

#define MOST_BYTES                                                                                 \
    ((uint64_t)256 << 20) /* of all files; then they are deleted down to half of it */
#define MOST_AGE 3600     /* s, of a temporary file whose writer did not end well */

static bool ours(const char *path) {
    struct stat st;
    return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

/* base returns the directory that ours is in, which need not be there. */
static char *base(void) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        return ours(xdg) || access(xdg, F_OK) != 0 ? must_dup(xdg) : NULL;
    return ours(home) ? must_format("%s/.cache", home) : NULL;
}

char *cachedir_path(void) {
    char *dir = base(), *path = dir ? must_format("%s/goinspect", dir) : NULL;
    free(dir);
    return path;
}

bool cachedir_make(void) {
    char *dir = base(), *path = cachedir_path();
    if (dir)
        mkdir(dir, 0700);
    if (path)
        mkdir(path, 0700);
    bool done = path && ours(path) && access(path, W_OK) == 0;
    free(dir);
    free(path);
    return done;
}

struct file {
    char *path;
    struct timespec used;
    uint64_t size;
};

struct files {
    struct file *items;
    size_t n;
    uint64_t bytes;
};

static int compare_used(const void *x, const void *y) {
    const struct file *a = x, *b = y;
    if (a->used.tv_sec != b->used.tv_sec)
        return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
    return a->used.tv_nsec < b->used.tv_nsec ? -1 : a->used.tv_nsec > b->used.tv_nsec;
}

/* consider notes a file that may be deleted. */
static void consider(struct files *files, const char *dir, const char *name) {
    const char *suffix = strstr(name, CACHEDIR_SUFFIX);
    struct stat st;
    if (!suffix)
        return;
    char *path = must_format("%s/%s", dir, name);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        free(path);
    else if (suffix[strlen(CACHEDIR_SUFFIX)] == '\0') {
        files->items = must_realloc(files->items, files->n + 1, sizeof(*files->items));
        files->items[files->n++] = (struct file){path, st.st_mtim, (uint64_t)st.st_size};
        files->bytes += (uint64_t)st.st_size;
    } else {
        if (st.st_mtim.tv_sec + MOST_AGE < time(NULL))
            unlink(path);
        free(path);
    }
}

void cachedir_trim(void) {
    struct files files = {.n = 0};
    char *path = cachedir_path();
    DIR *dir = path ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        consider(&files, path, entry->d_name);
    if (dir)
        closedir(dir);
    if (files.bytes > MOST_BYTES)
        qsort(files.items, files.n, sizeof(*files.items), compare_used);
    bool much = files.bytes > MOST_BYTES;
    for (size_t i = 0; i < files.n; i++) {
        if (much && files.bytes > MOST_BYTES / 2 && unlink(files.items[i].path) == 0)
            files.bytes -= files.items[i].size;
        free(files.items[i].path);
    }
    free(files.items);
    free(path);
}
