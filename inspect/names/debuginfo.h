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
 * directory of separate debug files ("" = here).  build_id may be empty.  Debug information is not
 * read before the first lookup.  0, or
 *
 *      -ESTALE    the file there has another build-id: it was replaced
 *      -ENOEXEC   not an ELF file
 *      others     what open(2) says
 */
int debuginfo_open(const char *path, const char *root, const uint8_t *build_id, size_t build_id_len,
                   struct debuginfo **ret);

/* debuginfo_stamp returns a number that is another one if the file, or its separate debug file, is
 * not the one it was: what has been looked up before is then worth nothing. */
uint64_t debuginfo_stamp(const struct debuginfo *d);

/* debuginfo_expect says which offsets of the file will be asked for; kept until debuginfo_close. */
void debuginfo_expect(struct debuginfo *d, const uint64_t *offsets, size_t n);

/* What an answer is handed to: frames of the code at an offset, innermost first, n = 0 if nothing
 * is known.  The strings last as long as the call.  whole: nothing was missing, the same question
 * will have the same answer. */
struct debuginfo_receiver {
    void (*found)(void *context, uint64_t offset, const struct debuginfo_frame *frames, size_t n,
                  bool whole);
    void *context;
};

/* debuginfo_lookup hands over the answer for an offset, and with it those for all that are expected
 * in the same compilation unit. */
void debuginfo_lookup(struct debuginfo *d, uint64_t offset,
                      const struct debuginfo_receiver *receiver);

/* What is known of a place in a file's data. */
struct debuginfo_variable {
    const char *name;    /* of the variable, mangled, perhaps with a version; NULL = not known */
    uint64_t offset;     /* of the place in it */
    const char *section; /* NULL = in none */
};

/* debuginfo_variable tells of the place that lies `offset` bytes behind where the file's first byte
 * is mapped.  The strings last until debuginfo_close. */
struct debuginfo_variable debuginfo_variable(struct debuginfo *d, uint64_t offset);

/* debuginfo_thread_variable tells of the place `before` bytes below a thread's pointer, if the file
 * is the program's: a thread-local variable. */
struct debuginfo_variable debuginfo_thread_variable(struct debuginfo *d, uint64_t before);

/* debuginfo_has_lines tells whether there is DWARF, not just a symbol table. */
bool debuginfo_has_lines(struct debuginfo *d);

/* debuginfo_missing returns the file that would have to be there for lines, or for the functions
 * that are inlined; NULL if there is none to tell of.  It lasts until debuginfo_close. */
const char *debuginfo_missing(struct debuginfo *d);

void debuginfo_close(struct debuginfo *d); /* NULL is allowed */

#endif
