/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sizeclass_replay FILE: compares the generated size classes with Go's tables.
 *
 * FILE is described in README.md beside it.  Exit 0: all the same; 1: a difference, which is named
 * by its line; 2: the file can't be read, or is not what it should be.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "heap/msize.h"

static unsigned line;

/* same compares one number. */
static bool same(const char *what, uint64_t go, uint64_t ours) {
    if (go == ours)
        return true;
    fprintf(stderr, "line %u: %s: Go has %" PRIu64 ", we %" PRIu64 "\n", line, what, go, ours);
    return false;
}

/* check_class compares a row; `request` is the smallest of its class. */
static bool check_class(unsigned request, unsigned class, unsigned size, unsigned npages,
                        unsigned magic) {
    return same("class of the request", class, size_to_class(request)) &&
           same("class of one byte less", class - 1, size_to_class(request - 1)) &&
           same("class of the object", class, size_to_class(size)) &&
           same("bytes", size, class_to_size[class]) &&
           same("bytes for the request", size, round_up_size(request)) &&
           same("pages", npages, class_to_allocnpages[class]) &&
           same("division magic", magic, class_to_divmagic[class]);
}

int main(int argc, char **argv) {
    FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (in == NULL) {
        fprintf(stderr, "usage: sizeclass_replay FILE\n");
        return 2;
    }
    char text[256];
    unsigned nclasses = 1; /* class 0 has no row */
    unsigned request, class, size, npages, magic;
    while (fgets(text, sizeof(text), in) != NULL) {
        line++;
        uintptr_t r, s;
        bool ok = true;
        if (sscanf(text, "%u %u %u %u %u", &request, &class, &size, &npages, &magic) == 5 &&
            class == nclasses && class < NUM_SIZE_CLASSES) {
            ok = check_class(request, class, size, npages, magic);
            nclasses++;
        } else if (sscanf(text, "roundup %" SCNuPTR " => %" SCNuPTR, &r, &s) == 2) {
            ok = same("size rounded up", s, round_up_size(r));
        } else if (text[0] != '#') {
            fprintf(stderr, "line %u: cannot read it\n", line);
            return 2;
        }
        if (!ok)
            return 1;
    }
    fclose(in);
    return same("number of classes", NUM_SIZE_CLASSES, nclasses) ? 0 : 1;
}
