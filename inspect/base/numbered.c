/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Files of a name with a number in it.
 *
 * The folder is asked each time which numbers there are: so a series goes on where the last one
 * ended, and what somebody has deleted or moved away is not missed.  A number is what is written in
 * decimal digits without a zero before them, so that a name has one spelling.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/numbered.h"
#include "base/say.h"

#define MOST_DIGITS 18

/* A path, cut at its %n and before its last part. */
struct pattern {
    char *dir; /* "heaps/" or "" */
    char *before;
    const char *after; /* in the path itself */
};

static const char *find_n(const char *path) {
    const char *slash = strrchr(path, '/');
    return strstr(slash ? slash : path, "%n");
}

bool numbered_is(const char *path) {
    return find_n(path) != NULL;
}

static struct pattern pattern_of(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *n = find_n(path);
    return (struct pattern){.dir = must_dup_n(path, (size_t)(name - path)),
                            .before = must_dup_n(name, (size_t)(n - name)),
                            .after = n + 2};
}

static void pattern_free(struct pattern *p) {
    free(p->dir);
    free(p->before);
}

/* number_of returns the number in a file's name, 0: it is not one of the pattern's. */
static int64_t number_of(const struct pattern *p, const char *name) {
    size_t n = strlen(p->before);
    if (strncmp(name, p->before, n) != 0)
        return 0;
    size_t digits = strspn(name + n, "0123456789");
    if (digits == 0 || digits > MOST_DIGITS || name[n] == '0' ||
        strcmp(name + n + digits, p->after) != 0)
        return 0;
    return strtoll(name + n, NULL, 10);
}

/* numbers_of lists the numbers that are there, in no order; to be freed. */
static int64_t *numbers_of(const struct pattern *p, size_t *ret_n) {
    DIR *dir = opendir(p->dir[0] ? p->dir : ".");
    int64_t *numbers = NULL;
    size_t n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        int64_t number = number_of(p, e->d_name);
        if (number == 0)
            continue;
        if ((n & (n - 1)) == 0) /* room for 1, 2, 4, ... */
            numbers = must_realloc(numbers, n ? 2 * n : 1, sizeof(*numbers));
        numbers[n++] = number;
    }
    if (dir)
        closedir(dir);
    *ret_n = n;
    return numbers;
}

static char *path_of(const struct pattern *p, int64_t number) {
    return must_format("%s%s%lld%s", p->dir, p->before, (long long)number, p->after);
}

char *numbered_next(const char *path, int64_t *ret_number) {
    struct pattern p = pattern_of(path);
    size_t n;
    int64_t *numbers = numbers_of(&p, &n), last = 0;
    for (size_t i = 0; i < n; i++)
        last = numbers[i] > last ? numbers[i] : last;
    free(numbers);
    *ret_number = last + 1;
    char *next = path_of(&p, last + 1);
    pattern_free(&p);
    return next;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t numbered_keep(const char *path, int64_t keep) {
    struct pattern p = pattern_of(path);
    size_t n;
    int64_t *numbers = numbers_of(&p, &n), gone = 0;
    if (n)
        qsort(numbers, n, sizeof(*numbers), ascending);
    for (size_t i = 0; i < n && (int64_t)(n - i) > keep; i++) {
        char *old = path_of(&p, numbers[i]);
        gone += unlink(old) == 0;
        free(old);
    }
    free(numbers);
    pattern_free(&p);
    return gone;
}
