/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel's list of mappings with what is resident of each: /proc/self/smaps, read without stdio
 * and one mapping at a time, since the whole may have megabytes.
 */
#ifndef GM_IMAGE_SMAPS_H
#define GM_IMAGE_SMAPS_H

#include "image/rawfile.h"

#define SMAPS_TEXT 65536 /* read at a time; a line has 4095 bytes of path at most */

/* A mapping. */
struct smaps_mapping {
    uint64_t start, end; /* end 0: none yet */
    uint32_t prot;       /* PROT_* */
    bool shared;
    uint64_t inode;                   /* 0 = not a file */
    uint64_t resident, swapped, huge; /* bytes; huge: of the resident ones, anonymous huge pages */
    char path[16];                    /* its first bytes, with a NUL; "" = without a name */
};

struct smaps {
    void (*take)(void *arg, const struct smaps_mapping *); /* called for each mapping, by address */
    void *arg;
    struct smaps_mapping mapping; /* that is being read */
    size_t have;                  /* bytes of text */
    char text[SMAPS_TEXT];
};

/* smaps_read reads such a list from a file; s->take and s->arg are set.  False: not to its end. */
bool smaps_read(struct smaps *s, const char *path);

/* smaps_figure reads a line such as "Rss:                1848 kB", if it is the one named, and sets
 * *ret to the bytes. */
void smaps_figure(const char *line, const char *name, uint64_t *ret);

#endif
