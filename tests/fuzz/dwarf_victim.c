/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small program with all that debug information has: what dwarf_fuzz damages.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list {
    struct list *next;
    union {
        char name[16];
        double number;
    } u;
};

static inline __attribute__((always_inline)) void *twice(size_t n) {
    return malloc(2 * n);
}

static inline __attribute__((always_inline)) struct list *make(const char *name) {
    struct list *l = twice(sizeof *l);
    if (l) {
        int length = (int)strlen(name);
        if (length < 16) {
            for (int i = 0; i <= length; i++)
                l->u.name[i] = name[i];
        }
        l->next = NULL;
    }
    return l;
}

__attribute__((noinline)) static struct list *chain(int n) {
    struct list *first = NULL;
    for (int i = 0; i < n; i++) {
        struct list *l = make(i % 2 ? "odd" : "even");
        if (!l)
            break;
        l->next = first;
        first = l;
    }
    return first;
}

int main(int argc, char **argv) {
    (void)argv;
    for (struct list *l = chain(argc), *next; l; l = next) {
        next = l->next;
        puts(l->u.name);
        free(l);
    }
    return 0;
}
