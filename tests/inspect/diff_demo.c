/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose growth is known: diff_demo KEPT GROWN [wait|lose].
 *
 * It keeps KEPT objects of 1000 bytes and GROWN of 2000, each by a function of its own, and says
 * "ready".  With "wait" it keeps GROWN more for each line of its standard input, and says so again.
 * What it keeps it can reach; with "lose" it does the same, but loses three objects of 300 bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))

struct kept {
    struct kept *next;
};
static struct kept *all;

static void keep(void *p) {
    struct kept *k = p;
    k->next = all;
    all = k;
}

NOINLINE static void *keep_same(void) {
    void *p = malloc(1000);
    __asm__ volatile("" : "+r"(p));
    return p;
}

NOINLINE static void *keep_more(void) {
    void *p = malloc(2000);
    __asm__ volatile("" : "+r"(p));
    return p;
}

NOINLINE static void lose(void) {
    for (int i = 0; i < 3; i++) {
        void *p = malloc(300);
        __asm__ volatile("" : "+r"(p));
    }
}

static void grow(int n) {
    for (int i = 0; i < n; i++)
        keep(keep_more());
}

int main(int argc, char **argv) {
    char line[80];
    if (argc < 3)
        return 64;
    for (int i = 0; i < atoi(argv[1]); i++)
        keep(keep_same());
    if (argc > 3 && strcmp(argv[3], "lose") == 0)
        lose();
    do {
        grow(atoi(argv[2]));
        puts("ready");
        fflush(stdout);
    } while (argc > 3 && fgets(line, sizeof(line), stdin));
    return 0;
}
