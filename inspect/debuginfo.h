/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functions and lines of one program or library file.
 */
#ifndef GOINSPECT_DEBUGINFO_H
#define GOINSPECT_DEBUGINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct debuginfo;

struct debuginfo_frame {
    const char *function; /* as in the file, mangled; NULL = not known */
    const char *file;     /* NULL = not known */
    unsigned line;        /* 0 = not known */
    unsigned column;      /* in the line, from 1; 0 = not known */
    bool inlined;         /* into the next frame */
};

/*
 * debuginfo_open opens the file that was mapped from path.  root is put before path and before the
 * directory of separate debug files ("" = here).  build_id may be empty.  0, or
 *
 *      -ESTALE    the file there has another build-id: it was replaced
 *      -ENOEXEC   not an ELF file
 *      others     what open(2) says
 */
int debuginfo_open(const char *path, const char *root, const uint8_t *build_id, size_t build_id_len,
                   struct debuginfo **ret);

/* debuginfo_lookup fills at most max frames of the code at an offset of the file, innermost first,
 * and returns their number; 0 if nothing is known.  The strings live as long as d. */
size_t debuginfo_lookup(struct debuginfo *d, uint64_t file_offset, struct debuginfo_frame *frames,
                        size_t max);

/* debuginfo_has_lines tells whether there is DWARF, not just a symbol table. */
bool debuginfo_has_lines(const struct debuginfo *d);

void debuginfo_close(struct debuginfo *d); /* NULL is allowed */

#endif
