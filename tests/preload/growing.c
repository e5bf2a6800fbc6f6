/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects that grow by realloc in turn, a page at a time, each in the way of the others: they
 * keep what they hold, and are moved seldom, as who has been moved gets room to grow into.
 */
#include "check.h"

enum { OBJECTS = 16, FROM = 40 << 10, TO = 4 << 20, STEP = 8 << 10 };

/* From FROM to TO by moves that each leave room for an eighth more are 40, by any that do not are
 * some hundred. */
enum { MOVES = 60 };

static unsigned char *object[OBJECTS];
static unsigned moves[OBJECTS];

static void grow(int i, size_t size) {
    unsigned char *p = realloc(object[i], size + STEP);
    CHECK(p != NULL);
    moves[i] += p != object[i];
    for (size_t k = 0; k < size; k += 4096)
        CHECK(p[k] == (unsigned char)(i + k / 4096));
    for (size_t k = size; k < size + STEP; k += 4096)
        p[k] = (unsigned char)(i + k / 4096);
    object[i] = p;
}

int main(void) {
    for (int i = 0; i < OBJECTS; i++) {
        object[i] = malloc(FROM);
        CHECK(object[i] != NULL);
        for (size_t k = 0; k < FROM; k += 4096)
            object[i][k] = (unsigned char)(i + k / 4096);
    }
    for (size_t size = FROM; size < TO; size += STEP)
        for (int i = 0; i < OBJECTS; i++)
            grow(i, size);
    for (int i = 0; i < OBJECTS; i++) {
        CHECK(moves[i] <= MOVES);
        free(object[i]);
    }
    return 0;
}
