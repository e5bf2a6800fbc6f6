/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading a heap image: the copy, the header, the directory.  See image.h for what is promised and
 * gomalloc/image.h for the format; the records themselves are checked in image_check.c.
 *
 * The directory must tile the file: each byte after it belongs to exactly one section (its padding
 * to 8 included).  As every section has a checksum and so have header and directory, there is no
 * byte that could be changed without being noticed, and no length that could reach into another
 * section.
 */
#include "image/image_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* More sections than any version will have: it bounds the work for a hostile header. */
#define MAX_SECTIONS 4096u

const size_t image_record_sizes[GOMALLOC_NSECTIONS] = {
#define RECORD_SIZE(id, name, type) sizeof(type),
    GOMALLOC_SECTIONS(RECORD_SIZE)
#undef RECORD_SIZE
};

static const char section_names[GOMALLOC_NSECTIONS][16] = {
#define SECTION_NAME(id, name, type) name,
    GOMALLOC_SECTIONS(SECTION_NAME)
#undef SECTION_NAME
};

/* Where a section's bytes are: [start, end), padding included. */
struct extent {
    uint64_t start;
    uint64_t end;
};

struct opening {
    struct image *im;
    const char *name; /* of the file, for messages */
    char *err;
    size_t errlen;
};

__attribute__((format(printf, 3, 4))) static int fault(struct opening *o, int code, const char *fmt,
                                                       ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *c = text; *c; c++) /* names are the file's */
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
    if (o->errlen)
        snprintf(o->err, o->errlen, "%s: %s", o->name, text);
    return code;
}

static uint64_t round8(uint64_t n) {
    return (n + 7) & ~(uint64_t)7;
}

/* Header. */

static int check_magic(struct opening *o) {
    const struct image *im = o->im;
    size_t n = im->size < 8 ? im->size : 8;
    if (im->size == 0)
        return fault(o, IMAGE_DAMAGED, "is empty, not a heap image");
    if (memcmp(im->bytes, GOMALLOC_IMAGE_MAGIC, n) != 0)
        return fault(o, IMAGE_NOT_IMAGE,
                     "is not a heap image; \"goinspect snapshot PID -o "
                     "FILE.gmi\" takes one");
    if (im->size < sizeof(struct gomalloc_image))
        return fault(o, IMAGE_DAMAGED, "damaged heap image: cut short in its header");
    return 0;
}

/* directory_end returns the offset after the directory, 0 if there can be none like that. */
static uint64_t directory_end(const struct image *im) {
    const struct gomalloc_image *h = &im->header;
    if (h->header_size < sizeof *h || h->header_size % 8 || h->header_size > im->size ||
        h->section_size < sizeof(struct gomalloc_section) || h->section_size % 8 ||
        h->nsections > MAX_SECTIONS)
        return 0;
    uint64_t end = h->header_size + (uint64_t)h->nsections * h->section_size;
    return end <= im->size ? end : 0;
}

static uint64_t header_checksum(const struct image *im, uint64_t end) {
    const size_t at = offsetof(struct gomalloc_image, checksum);
    uint64_t zero = 0;
    uint64_t sum = gomalloc_checksum(0, im->bytes, at);
    sum = gomalloc_checksum(sum, &zero, sizeof zero);
    return gomalloc_checksum(sum, im->bytes + at + 8, end - at - 8);
}

static int check_header(struct opening *o) {
    struct image *im = o->im;
    int rc = check_magic(o);
    if (rc)
        return rc;
    memcpy(&im->header, im->bytes, sizeof im->header);
    uint64_t end = directory_end(im);
    if (!end)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: cut short, or a senseless header");
    if (header_checksum(im, end) != im->header.checksum)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: wrong checksum of the header");
    if (im->header.version != GOMALLOC_IMAGE_VERSION)
        return fault(o, IMAGE_VERSION,
                     "is a heap image of version %u, this program reads version %u",
                     im->header.version, GOMALLOC_IMAGE_VERSION);
    if (im->header.file_size != im->size)
        return fault(o, IMAGE_DAMAGED,
                     "damaged heap image: %zu bytes long, should be %llu; copy it again", im->size,
                     (unsigned long long)im->header.file_size);
    if (im->header.captured_ns > INT64_MAX || im->header.capture_time_ns > INT64_MAX ||
        im->header.flags > INT64_MAX)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: a senseless header");
    return 0;
}

/* Directory. */

static int section_id(const struct gomalloc_section *s) {
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++)
        if (memcmp(s->name, section_names[id], sizeof s->name) == 0)
            return id;
    return -1;
}

static int check_extent(struct opening *o, const struct gomalloc_section *s, uint64_t dir_end,
                        struct extent *ret) {
    const struct image *im = o->im;
    uint64_t bytes;
    if (s->record_size == 0 || __builtin_mul_overflow(s->count, s->record_size, &bytes) ||
        bytes > im->size || s->offset % 8 || s->offset < dir_end || s->offset > im->size ||
        round8(bytes) > im->size - s->offset)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: section \"%.16s\" lies outside",
                     s->name);
    if (gomalloc_checksum(0, im->bytes + s->offset, round8(bytes)) != s->checksum)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: wrong checksum of section \"%.16s\"",
                     s->name);
    *ret = (struct extent){s->offset, s->offset + round8(bytes)};
    return 0;
}

/* normalise copies records of another size into records of ours. */
static int normalise(struct opening *o, struct image_records *r, const struct gomalloc_section *s,
                     size_t want) {
    if (s->count > SIZE_MAX / want || !(r->owned = calloc(s->count, want)))
        return fault(o, -ENOMEM, "not enough memory to read it");
    size_t take = s->record_size < want ? s->record_size : want;
    for (uint64_t i = 0; i < s->count; i++)
        memcpy((char *)r->owned + i * want, o->im->bytes + s->offset + i * s->record_size, take);
    r->records = r->owned;
    return 0;
}

static int take_section(struct opening *o, const struct gomalloc_section *s) {
    int id = section_id(s);
    if (id < 0)
        return 0; /* of a newer library */
    struct image_records *r = &o->im->sections[id];
    size_t want = image_record_sizes[id];
    if (r->present)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: two sections \"%.16s\"", s->name);
    /* Records are numbered by 32 bits; and what is one word by nature can't be longer. */
    if (s->count > UINT32_MAX - 1 || (want <= 8 && s->record_size != want) ||
        (want > 8 && s->record_size < 8))
        return fault(o, IMAGE_DAMAGED, "damaged heap image: section \"%.16s\": %u bytes a record",
                     s->name, s->record_size);
    r->present = true;
    r->count = s->count;
    r->records = o->im->bytes + s->offset;
    return s->record_size == want || s->count == 0 ? 0 : normalise(o, r, s, want);
}

static int compare_extents(const void *a, const void *b) {
    const struct extent *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int check_tiling(struct opening *o, struct extent *extents, size_t n, uint64_t at) {
    qsort(extents, n, sizeof *extents, compare_extents);
    for (size_t i = 0; i < n; i++) {
        if (extents[i].start != at && extents[i].start != extents[i].end)
            return fault(o, IMAGE_DAMAGED, "damaged heap image: sections overlap or leave a gap");
        if (extents[i].start == at)
            at = extents[i].end;
    }
    if (at != o->im->size)
        return fault(o, IMAGE_DAMAGED, "damaged heap image: bytes that belong to no section");
    return 0;
}

static int check_directory(struct opening *o) {
    struct image *im = o->im;
    const struct gomalloc_image *h = &im->header;
    uint64_t end = directory_end(im);
    struct extent *extents = calloc(h->nsections + 1, sizeof *extents);
    if (!extents)
        return fault(o, -ENOMEM, "not enough memory to read it");
    int rc = 0;
    for (uint32_t i = 0; i < h->nsections && !rc; i++) {
        struct gomalloc_section s;
        memcpy(&s, im->bytes + h->header_size + (uint64_t)i * h->section_size, sizeof s);
        rc = check_extent(o, &s, end, &extents[i]);
        if (!rc)
            rc = take_section(o, &s);
    }
    if (!rc)
        rc = check_tiling(o, extents, h->nsections, end);
    free(extents);
    return rc;
}

static int check_all(struct opening *o) {
    char text[256] = "";
    int rc = check_header(o);
    if (!rc)
        rc = check_directory(o);
    if (rc)
        return rc;
    rc = image_check(o->im, text, sizeof text);
    if (rc == -ENOMEM)
        return fault(o, rc, "not enough memory to read it");
    return rc ? fault(o, rc, "damaged heap image: %s", text) : 0;
}

/* Opening. */

static int allocate(struct opening *o, uint64_t size) {
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (size > memory)
        return fault(o, -EFBIG, "is larger (%llu bytes) than this machine's memory",
                     (unsigned long long)size);
    struct image *im = calloc(1, sizeof *im);
    if (!im)
        return fault(o, -ENOMEM, "not enough memory to read it");
    void *p =
        mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        free(im);
        return fault(o, -ENOMEM, "not enough memory to read it");
    }
    im->bytes = p;
    im->size = size;
    o->im = im;
    return 0;
}

static int finish(struct opening *o, struct image **ret) {
    int rc = check_all(o);
    if (rc)
        image_close(o->im);
    else
        *ret = o->im;
    return rc;
}

/* read_all fills im->bytes.  A file that became shorter meanwhile is shorter. */
static int read_all(struct opening *o, int fd) {
    struct image *im = o->im;
    size_t at = 0;
    while (at < im->size) {
        ssize_t n = pread(fd, im->bytes + at, im->size - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault(o, -errno, "cannot read it: %s", strerror(errno));
        if (n == 0)
            return fault(o, IMAGE_DAMAGED, "damaged heap image: cut short while it was read");
        at += (size_t)n;
    }
    return 0;
}

int image_open_fd(int fd, const char *name, struct image **ret, char *err, size_t errlen) {
    struct opening o = {.name = name, .err = err, .errlen = errlen};
    struct stat st;
    if (fstat(fd, &st))
        return fault(&o, -errno, "%s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fault(&o, -EISDIR, "is a directory, not a heap image");
    if (!S_ISREG(st.st_mode))
        return fault(&o, IMAGE_NOT_IMAGE, "is not a regular file");
    int rc = allocate(&o, (uint64_t)st.st_size);
    if (rc)
        return rc;
    rc = read_all(&o, fd);
    if (rc) {
        image_close(o.im);
        return rc;
    }
    return finish(&o, ret);
}

int image_open(const char *path, struct image **ret, char *err, size_t errlen) {
    struct opening o = {.name = path, .err = err, .errlen = errlen};
    /* O_NONBLOCK: a fifo must not make us wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fault(&o, -errno, "%s", strerror(errno));
    int rc = image_open_fd(fd, path, ret, err, errlen);
    close(fd);
    return rc;
}

int image_open_memory(const void *data, size_t size, struct image **ret, char *err, size_t errlen) {
    struct opening o = {.name = "image", .err = err, .errlen = errlen};
    int rc = allocate(&o, size);
    if (rc)
        return rc;
    if (size)
        memcpy(o.im->bytes, data, size);
    return finish(&o, ret);
}

void image_close(struct image *im) {
    if (!im)
        return;
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++) {
        free(im->sections[id].owned);
        free(im->sections[id].order);
    }
    munmap(im->bytes, im->size ? im->size : 1);
    free(im);
}

void *image_own(struct image *im, enum gomalloc_section_id id) {
    struct image_records *r = &im->sections[id];
    if (!r->owned) {
        size_t bytes = r->count * image_record_sizes[id];
        if (!(r->owned = malloc(bytes + 1)))
            return NULL;
        memcpy(r->owned, r->records, bytes);
        r->records = r->owned;
    }
    return r->owned;
}
