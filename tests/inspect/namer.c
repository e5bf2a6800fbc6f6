/* SPDX-License-Identifier: BSD-3-Clause
 *
 * namer FILE OFFSET...
 * namer FILE every=BYTES
 *
 * Names of code at offsets of an ELF file (hexadecimal), or all over its code, as goinspect finds
 * them in a profile of it: for tests of names that want no program to be run.  A line a function:
 *
 *      OFFSET FUNCTION FILE:LINE:COLUMN [inlined]
 *
 * With every= only how many have been found of each.  ROOT in the environment is where FILE is
 * below.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "names/elffile.h"
#include "image/image.h"
#include "maker.h"
#include "names/symbol.h"

#define START UINT64_C(0x7f0000000000) /* where the file is "mapped": its first byte */

static void die(const char *what) {
    fprintf(stderr, "namer: %s\n", what);
    exit(2);
}

/* code_of sets the part of the file that is code: the last segment that can be executed. */
static void code_of(const char *path, uint64_t *ret_begin, uint64_t *ret_end) {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || pread(fd, &ehdr, sizeof ehdr, 0) != sizeof ehdr)
        die("cannot read the file");
    for (int i = 0; i < ehdr.e_phnum; i++)
        if (pread(fd, &phdr, sizeof phdr, (off_t)(ehdr.e_phoff + i * sizeof phdr)) == sizeof phdr &&
            phdr.p_type == PT_LOAD && (phdr.p_flags & PF_X)) {
            *ret_begin = phdr.p_offset;
            *ret_end = phdr.p_offset + phdr.p_filesz;
        }
    close(fd);
}

/* image_of returns an image in which the file is mapped. */
static struct image *image_of(const char *path, const char *whole, uint64_t end) {
    struct maker m;
    struct elffile file;
    struct image *im;
    size_t size;
    char err[256];
    maker_init(&m);
    demo_make(&m, &demo_default);
    struct gomalloc_mapping *mapping = maker_record(&m, GOMALLOC_SECTION_MAPPING, 0);
    mapping->start = START;
    mapping->end = START + ((end + 0xfff) & ~UINT64_C(0xfff));
    mapping->file_offset = 0;
    mapping->build_id_len = 0;
    if (elffile_open(whole, &file) == 0 && file.build_id_len > 0 &&
        file.build_id_len <= sizeof mapping->build_id) {
        memcpy(mapping->build_id, file.build_id, file.build_id_len);
        mapping->build_id_len = (uint32_t)file.build_id_len;
    }
    elffile_close(&file);
    uint32_t name = maker_string(&m, path);
    mapping->path_str = name;
    unsigned char *bytes = maker_finish(&m, &size);
    if (image_open_memory(bytes, size, &im, err, sizeof err))
        die(err);
    free(bytes);
    maker_free(&m);
    return im;
}

static void print(const struct symbol_frame *frames, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *file = frames[i].file ? frames[i].file : "-";
        const char *slash = strrchr(file, '/');
        printf("%llx %s %s:%u:%u%s\n", (unsigned long long)frames[i].module_offset,
               frames[i].function ? frames[i].function : "?", slash ? slash + 1 : file,
               frames[i].line, frames[i].column, frames[i].inlined ? " inlined" : "");
    }
}

int main(int argc, char **argv) {
    const char *root = getenv("ROOT");
    uint64_t begin = 0, end = 0, step = 0, *pcs, functions = 0, lines = 0;
    size_t npcs = 0, n;
    char whole[4096];
    if (argc < 3)
        die("usage: namer FILE OFFSET...|every=BYTES");
    snprintf(whole, sizeof whole, "%s%s", root ? root : "", argv[1]);
    code_of(whole, &begin, &end);
    symbolizer_root(root ? root : "");
    if (sscanf(argv[2], "every=%lu", &step) != 1)
        step = 0;
    pcs = calloc(step ? (end - begin) / step + 1 : (size_t)argc, sizeof *pcs);
    for (uint64_t at = begin; step && at < end; at += step)
        pcs[npcs++] = START + at;
    for (int i = 2; !step && i < argc; i++)
        pcs[npcs++] = START + strtoull(argv[i], NULL, 16);
    struct image *im = image_of(argv[1], whole, end);
    struct symbolizer *s = symbolizer_new(im);
    symbolizer_expect(s, pcs, npcs);
    for (size_t i = 0; i < npcs; i++) {
        const struct symbol_frame *frames;
        symbolizer_lookup(s, pcs[i], &frames, &n);
        functions += frames[0].function != NULL;
        lines += frames[0].line > 0;
        if (!step)
            print(frames, n);
    }
    if (step)
        printf("%zu addresses, %lu functions, %lu lines\n", npcs, functions, lines);
    symbolizer_free(s);
    image_close(im);
    free(pcs);
}
