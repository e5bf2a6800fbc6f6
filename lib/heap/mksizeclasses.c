/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mksizeclasses: prints sizeclasses.h.  Go: runtime/mksizeclasses.go.  Runs while building, on the
 * machine that builds; no part of the library.
 *
 * The classes are chosen so that rounding a request up to its class wastes at most 12.5 %, and so
 * that cutting a class's run of pages into objects leaves at most 12.5 % over.  The two multiply:
 * 26.6 % at worst, but for a given size one of them is small (below 512 bytes it is mostly the
 * rounding, above mostly the tail).  Very small sizes waste more, for their alignment.
 *
 * Departure: Go prints the magic numbers as expressions; C's are computed here.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_SMALL_SIZE = 32 << 10,
    SMALL_SIZE_DIV = 8,
    SMALL_SIZE_MAX = 1024,
    LARGE_SIZE_DIV = 128,
    PAGE_SHIFT = 13,
    PAGE_BYTES = 1 << PAGE_SHIFT,
    NUM_SIZE_CLASSES = 68,
};

struct class {
    int size;   /* bytes of an object */
    int npages; /* pages of a span */
};

static struct class classes[NUM_SIZE_CLASSES + 1]; /* class 0 stands for large objects */
static int nclasses;

static _Noreturn void panic(const char *what, int value) {
    fprintf(stderr, "mksizeclasses: %s: %d\n", what, value);
    exit(1);
}

static bool power_of_two(int x) {
    return x != 0 && (x & (x - 1)) == 0;
}

/* The distance to the next size, which begins at `size`. */
static int bump_align(int align, int size) {
    if (!power_of_two(size))
        return align;
    if (size >= 2048)
        return 256;
    if (size >= 128)
        return size / 8;
    if (size >= 32)
        return 16;
    return align;
}

/* The pages that a span of objects of this size needs to waste at most 1/8 at its end. */
static int span_bytes(int size) {
    int n = PAGE_BYTES;
    while (n % size > n / 8)
        n += PAGE_BYTES;
    return n;
}

static void choose_classes(void) {
    classes[nclasses++] = (struct class){0, 0};
    int align = 8;
    for (int size = align; size <= MAX_SMALL_SIZE; size += align) {
        align = bump_align(align, size);
        int bytes = span_bytes(size);
        struct class *last = &classes[nclasses - 1];
        /* If as many objects of this size as of the last one fit into as many pages, the last one
         * may as well be larger. */
        if (nclasses > 1 && bytes / PAGE_BYTES == last->npages &&
            bytes / size == bytes / last->size) {
            last->size = size;
            continue;
        }
        if (nclasses == NUM_SIZE_CLASSES)
            panic("too many size classes", size);
        classes[nclasses++] = (struct class){size, bytes / PAGE_BYTES};
    }
    if (nclasses != NUM_SIZE_CLASSES)
        panic("number of size classes has changed", nclasses);
}

/* enlarge_classes makes use of the tails: 6 objects of 8448 bytes fit into 7 pages, but so do 6 of
 * 9472.  Sizes stay multiples of LARGE_SIZE_DIV, or the table of large sizes wouldn't work. */
static void enlarge_classes(void) {
    for (int i = 1; i < nclasses; i++) {
        struct class *c = &classes[i];
        int bytes = c->npages * PAGE_BYTES;
        int size = bytes / (bytes / c->size) & ~(LARGE_SIZE_DIV - 1);
        if (size > c->size)
            c->size = size;
    }
}

/* An object's index is its offset in the span times this, >> 32: ceil(2^32 / size). */
static uint32_t div_magic(int size) {
    return size == 0 ? 0 : UINT32_MAX / (uint32_t)size + 1;
}

/* Go proves by way of the paper's theorem that 32 bits are enough, and then tries every offset.
 * The trial alone decides. */
static void check_div_magic(const struct class *c) {
    uint64_t magic = div_magic(c->size);
    for (int n = 0; n <= c->npages * PAGE_BYTES; n++) {
        if ((n * magic) >> 32 != (uint64_t)(n / c->size))
            panic("32 bits are too few to divide by", c->size);
    }
}

static int class_of(int size) {
    for (int i = 0; i < nclasses; i++) {
        if (classes[i].size >= size)
            return i;
    }
    panic("no class for size", size);
}

/* The lowest power of two that divides the addresses of a class's objects: at most a page. */
static int alignment_of(const struct class *c) {
    int align = c->size & -c->size;
    return align < PAGE_BYTES ? align : PAGE_BYTES;
}

/* The size from which on all objects are aligned to `align`. */
static int aligned_from(int align) {
    int i = nclasses - 1;
    while (i > 1 && alignment_of(&classes[i - 1]) >= align)
        i--;
    return classes[i].size;
}

static void print_comment(void) {
    printf("/*\n * %5s  %9s  %10s  %7s  %10s  %9s  %9s\n", "class", "bytes/obj", "bytes/span",
           "objects", "tail waste", "max waste", "min align");
    for (int i = 1; i < nclasses; i++) {
        const struct class *c = &classes[i];
        int bytes = c->npages * PAGE_BYTES;
        int objects = bytes / c->size;
        int tail = bytes - objects * c->size;
        /* The worst request is one byte more than the class below holds. */
        double waste = (double)((c->size - classes[i - 1].size - 1) * objects + tail) / bytes;
        printf(" * %5d  %9d  %10d  %7d  %10d  %8.2f%%  %9d\n", i, c->size, bytes, objects, tail,
               100 * waste, alignment_of(c));
    }
    printf(" *\n * From this size on, every class is aligned to:\n");
    for (int align = SMALL_SIZE_DIV; align <= PAGE_BYTES; align *= 2) {
        int size = aligned_from(align);
        if (align == PAGE_BYTES || size != aligned_from(2 * align))
            printf(" * %9d bytes: %d\n", align, size);
    }
    printf(" */\n\n");
}

/* An array of n numbers, as many on a line as fit. */
static void print_array(const char *declaration, int n, uint32_t (*value)(int)) {
    printf("static const %s = {", declaration);
    int column = 100;
    for (int i = 0; i < n; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u,", value(i));
        if (column + 1 + len > 98) {
            printf("\n   ");
            column = 3;
        }
        printf(" %s", text);
        column += 1 + len;
    }
    printf("\n};\n\n");
}

static uint32_t size_at(int i) {
    return (uint32_t)classes[i].size;
}

static uint32_t npages_at(int i) {
    return (uint32_t)classes[i].npages;
}

static uint32_t magic_at(int i) {
    return div_magic(classes[i].size);
}

static uint32_t class8_at(int i) {
    return (uint32_t)class_of(i * SMALL_SIZE_DIV);
}

static uint32_t class128_at(int i) {
    return (uint32_t)class_of(SMALL_SIZE_MAX + i * LARGE_SIZE_DIV);
}

static void print_header(void) {
    printf("/* SPDX-License-Identifier: BSD-3-Clause\n"
           " *\n"
           " * Size classes.  Made by mksizeclasses.c; don't edit.  Go: runtime/sizeclasses.go.\n"
           " */\n"
           "#ifndef GM_HEAP_SIZECLASSES_H\n"
           "#define GM_HEAP_SIZECLASSES_H\n\n"
           "#include <stdint.h>\n\n");
    print_comment();
    printf("#define MAX_SMALL_SIZE   %d /* bytes; what is larger has a span of its own */\n",
           MAX_SMALL_SIZE);
    printf("#define SMALL_SIZE_DIV   %d\n#define SMALL_SIZE_MAX   %d\n", SMALL_SIZE_DIV,
           SMALL_SIZE_MAX);
    printf("#define LARGE_SIZE_DIV   %d\n#define NUM_SIZE_CLASSES %d\n\n", LARGE_SIZE_DIV,
           NUM_SIZE_CLASSES);
}

int main(void) {
    choose_classes();
    enlarge_classes();
    for (int i = 1; i < nclasses; i++)
        check_div_magic(&classes[i]);
    print_header();
    printf("/* Bytes of an object.  Class 0: large objects. */\n");
    print_array("uint16_t class_to_size[NUM_SIZE_CLASSES]", nclasses, size_at);
    printf("/* Pages of a span. */\n");
    print_array("uint8_t class_to_allocnpages[NUM_SIZE_CLASSES]", nclasses, npages_at);
    printf("/* ceil(2^32 / size): the object at offset n is number n * magic >> 32. */\n");
    print_array("uint32_t class_to_divmagic[NUM_SIZE_CLASSES]", nclasses, magic_at);
    printf("/* The class of a size up to SMALL_SIZE_MAX, by size / 8 rounded up. */\n");
    print_array("uint8_t size_to_class8[SMALL_SIZE_MAX / SMALL_SIZE_DIV + 1]",
                SMALL_SIZE_MAX / SMALL_SIZE_DIV + 1, class8_at);
    printf("/* The class of a larger one, by (size - SMALL_SIZE_MAX) / 128 rounded up. */\n");
    print_array("uint8_t size_to_class128[(MAX_SMALL_SIZE - SMALL_SIZE_MAX) / LARGE_SIZE_DIV + 1]",
                (MAX_SMALL_SIZE - SMALL_SIZE_MAX) / LARGE_SIZE_DIV + 1, class128_at);
    printf("#endif\n");
    return ferror(stdout) != 0 || fflush(stdout) != 0;
}
