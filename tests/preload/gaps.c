/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program with gaps between its segments (not position-independent, segments far apart), as node
 * and some compilers are: where code is described is in another mapping than the code.  It
 * allocates below five functions, which the recorder is to know.
 */
#include <stdlib.h>

static void *volatile kept;

__attribute__((noinline)) static int gap_five(int n) {
    kept = malloc((size_t)n);
    return n + (kept != NULL);
}

#define CALLER(name, callee)                                                                       \
    __attribute__((noinline)) static int name(int n) {                                             \
        return callee(n + 1) + n;                                                                  \
    }
CALLER(gap_four, gap_five)
CALLER(gap_three, gap_four)
CALLER(gap_two, gap_three)
CALLER(gap_one, gap_two)

int main(void) {
    return gap_one(100) == 0;
}
