/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Laying an image out, byte by byte as gomalloc/image.h draws it.  Written apart from both the
 * library's writer and goinspect's reader, so that a misunderstanding shows up.
 */
#include "maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t size;
} sections[GOMALLOC_NSECTIONS] = {
#define SECTION(id, name, type) {name, sizeof(type)},
    GOMALLOC_SECTIONS(SECTION)
#undef SECTION
};

static void *checked(void *p) {
    if (!p)
        abort();
    return p;
}

void maker_init(struct maker *m) {
    *m = (struct maker){0};
    memcpy(m->header.magic, GOMALLOC_IMAGE_MAGIC, 8);
    m->header.version = GOMALLOC_IMAGE_VERSION;
    m->header.header_size = sizeof m->header;
    m->header.section_size = sizeof(struct gomalloc_section);
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++)
        m->sections[id].record_size = sections[id].size;
    maker_add(m, GOMALLOC_SECTION_STRING, "");
}

void maker_free(struct maker *m) {
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++)
        free(m->sections[id].bytes);
}

static void append(struct maker_section *s, const void *bytes, size_t n) {
    if (s->size + n > s->capacity) {
        s->capacity = 2 * (s->size + n) + 64;
        s->bytes = checked(realloc(s->bytes, s->capacity));
    }
    memcpy(s->bytes + s->size, bytes, n);
    s->size += n;
}

size_t maker_add(struct maker *m, enum gomalloc_section_id id, const void *record) {
    append(&m->sections[id], record, sections[id].size);
    return m->sections[id].size / sections[id].size - 1;
}

uint32_t maker_string(struct maker *m, const char *text) {
    struct maker_section *s = &m->sections[GOMALLOC_SECTION_STRING];
    uint32_t at = (uint32_t)s->size;
    append(s, text, strlen(text) + 1);
    return at;
}

void *maker_record(struct maker *m, enum gomalloc_section_id id, size_t nth) {
    return m->sections[id].bytes + nth * sections[id].size;
}

static size_t round8(size_t n) {
    return (n + 7) & ~(size_t)7;
}

static void put_records(const struct maker_section *s, uint32_t ours, unsigned char *to) {
    size_t count = s->size / ours;
    uint32_t take = s->record_size < ours ? s->record_size : ours;
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * s->record_size, s->bytes + i * ours, take);
}

unsigned char *maker_finish(const struct maker *m, size_t *ret_size) {
    struct gomalloc_image header = m->header;
    struct gomalloc_section directory[GOMALLOC_NSECTIONS] = {0};
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++)
        header.nsections += !m->sections[id].absent;
    size_t at = sizeof header + header.nsections * sizeof directory[0];
    size_t end = at;
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++)
        end += round8(m->sections[id].size / sections[id].size * m->sections[id].record_size);
    unsigned char *bytes = checked(calloc(1, end + 1));
    uint32_t n = 0;
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++) {
        const struct maker_section *s = &m->sections[id];
        if (s->absent)
            continue;
        strncpy(directory[n].name, sections[id].name, sizeof directory[n].name);
        directory[n].record_size = s->record_size;
        directory[n].count = s->size / sections[id].size;
        directory[n].offset = at;
        put_records(s, sections[id].size, bytes + at);
        at += round8(directory[n++].count * s->record_size);
    }
    header.file_size = at;
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, directory, n * sizeof directory[0]);
    image_repair(bytes, at);
    *ret_size = at;
    return bytes;
}

static void repair_section(unsigned char *bytes, size_t size, unsigned char *entry) {
    struct gomalloc_section s;
    uint64_t n;
    memcpy(&s, entry, sizeof s);
    if (s.record_size == 0 || __builtin_mul_overflow(s.count, s.record_size, &n) || n > size ||
        s.offset > size || round8(n) > size - s.offset)
        return;
    s.checksum = gomalloc_checksum(0, bytes + s.offset, round8(n));
    memcpy(entry, &s, sizeof s);
}

void image_repair(unsigned char *bytes, size_t size) {
    struct gomalloc_image h;
    if (size < sizeof h)
        return;
    memcpy(&h, bytes, sizeof h);
    uint64_t end = h.header_size + (uint64_t)h.nsections * h.section_size;
    if (h.header_size < sizeof h || h.section_size < sizeof(struct gomalloc_section) ||
        h.header_size % 8 || h.section_size % 8 || end > size)
        return;
    for (uint32_t i = 0; i < h.nsections; i++)
        repair_section(bytes, size, bytes + h.header_size + (size_t)i * h.section_size);
    h.checksum = 0;
    memcpy(bytes, &h, sizeof h);
    h.checksum = gomalloc_checksum(0, bytes, end);
    memcpy(bytes, &h, sizeof h);
}
