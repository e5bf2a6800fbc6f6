/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names for addresses.  debuginfo.c is the only file that knows libdw; whoever wants names sees
 * this.
 *
 * A lookup answers with one or more frames: if the code at an address was inlined, the innermost
 * inlined function comes first and the function that exists in the symbol table last.
 */
#ifndef GOINSPECT_SYMBOL_H
#define GOINSPECT_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct symbolizer;

struct symbol_frame {
    const char *function;   /* demangled; NULL = not known */
    const char *file;       /* source file; NULL = not known */
    unsigned line;          /* 0 = not known */
    unsigned column;        /* in the line, from 1; 0 = not known */
    bool inlined;           /* inlined into the next frame of the answer */
    const char *module;     /* path of the file mapped there; NULL = none */
    uint64_t module_offset; /* offset in the module's file (address - mapping start + file offset);
                               without a module the address itself */
};

/* symbolizer_new returns a symbolizer for the addresses of an image, which must outlive it; NULL
 * if memory is short. */
struct symbolizer *symbolizer_new(const struct image *im);

/* symbolizer_root has the files of modules looked up below dir ("/proc/PID/root" of a process in a
 * container; "" = here) by symbolizers made from now on. */
void symbolizer_root(const char *dir);

/* symbolizer_root_dir returns that directory. */
const char *symbolizer_root_dir(void);

/* symbolizer_quiet has nothing said of files that are gone or replaced. */
void symbolizer_quiet(void);

/* symbolizer_expect says which addresses will be asked for, in ascending order: those of one
 * compilation unit are then looked up together. */
void symbolizer_expect(struct symbolizer *s, const uint64_t *pcs, size_t n);

/*
 * symbolizer_lookup finds the frames of the code at pc, innermost first.  For a return address
 * give pc - 1.  There is always at least one frame, if need be without a function.  The answer
 * belongs to the symbolizer and stays until symbolizer_free.  0, or a negative errno if memory is
 * short.
 */
int symbolizer_lookup(struct symbolizer *s, uint64_t pc, const struct symbol_frame **ret_frames,
                      size_t *ret_n);

void symbolizer_free(struct symbolizer *s); /* NULL is allowed */

#endif
