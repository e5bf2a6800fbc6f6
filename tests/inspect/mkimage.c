/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mkimage FILE [key=value...]: writes the tests' known heap as an image, for tests of the command
 * line.  Keys are the fields of struct demo (maker.h), and:
 *
 *      version=N    of the format
 *      flags=N      of the header
 *      start_ns=N   of the process
 *      break=KIND   with right checksums nevertheless: loop (a frame that is its own caller),
 *                   frame (a site's stack outside), bitmap, slot (a span's outside), string,
 *                   site (a slot of no site), overlap (two spans)
 */
#include "maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct number_key {
    const char *name;
    size_t offset;
    size_t width;
};

#define KEY(field)                                                                                 \
    { #field, offsetof(struct demo, field), sizeof(((struct demo *)0)->field) }
static const struct number_key keys[] = {
    KEY(pid),        KEY(start_ticks), KEY(captured_ns),   KEY(rate),    KEY(id),
    KEY(text),       KEY(nodes),       KEY(tables),        KEY(buffers), KEY(unrecorded),
    KEY(more_spans), KEY(more_sites),  KEY(other_numbers), KEY(leaks),   KEY(old),
    KEY(why)};

static bool set_key(struct demo *d, const char *name, size_t length, unsigned long long value) {
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i].name) == length && strncmp(keys[i].name, name, length) == 0) {
            memcpy((char *)d + keys[i].offset, &value, keys[i].width);
            return true;
        }
    return false;
}

static bool break_it(struct maker *m, const char *kind) {
    struct gomalloc_span *spans = maker_record(m, GOMALLOC_SECTION_SPAN, 0);
    struct gomalloc_frame *frames = maker_record(m, GOMALLOC_SECTION_FRAME, 0);
    struct gomalloc_site *sites = maker_record(m, GOMALLOC_SECTION_SITE, 0);
    struct gomalloc_slot *slots = maker_record(m, GOMALLOC_SECTION_SLOT, 0);
    struct gomalloc_process *process = maker_record(m, GOMALLOC_SECTION_PROCESS, 0);
    if (strcmp(kind, "loop") == 0)
        frames[1].parent = 2;
    else if (strcmp(kind, "frame") == 0)
        sites[0].frame = 999;
    else if (strcmp(kind, "bitmap") == 0)
        spans[0].bitmap_index = 999999;
    else if (strcmp(kind, "slot") == 0)
        spans[0].slot_index = UINT64_MAX - 1;
    else if (strcmp(kind, "string") == 0)
        process->exe_str = 999999;
    else if (strcmp(kind, "site") == 0)
        slots[0].site = 999;
    else if (strcmp(kind, "overlap") == 0)
        spans[0].npages = 2;
    else
        return false;
    return true;
}

/* set_option returns false if the word is none of the options, or a kind that is not known. */
static bool set_option(struct maker *m, const char *word) {
    if (strncmp(word, "version=", 8) == 0)
        m->header.version = (uint32_t)strtoul(word + 8, NULL, 0);
    else if (strncmp(word, "flags=", 6) == 0)
        m->header.flags = strtoull(word + 6, NULL, 0);
    else if (strncmp(word, "start_ns=", 9) == 0)
        ((struct gomalloc_process *)maker_record(m, GOMALLOC_SECTION_PROCESS, 0))->start_ns =
            strtoull(word + 9, NULL, 0);
    else
        return strncmp(word, "break=", 6) == 0 && break_it(m, word + 6);
    return true;
}

static bool write_file(const struct maker *m, const char *path) {
    size_t size;
    unsigned char *bytes = maker_finish(m, &size);
    FILE *f = fopen(path, "we");
    bool ok = f && fwrite(bytes, 1, size, f) == size;
    if (f && fclose(f))
        ok = false;
    free(bytes);
    return ok;
}

static bool set_word(struct demo *d, const char *word) {
    const char *eq = strchr(word, '=');
    return eq && set_key(d, word, (size_t)(eq - word), strtoull(eq + 1, NULL, 0));
}

int main(int argc, char **argv) {
    struct demo d = demo_default;
    struct maker m;
    char **options = calloc((size_t)argc + 1, sizeof *options), **option = options;
    if (argc < 2 || !options) {
        fputs("usage: mkimage FILE [key=value...]\n", stderr);
        return 64;
    }
    for (int i = 2; i < argc; i++)
        if (!set_word(&d, argv[i]))
            *option++ = argv[i];
    maker_init(&m);
    demo_make(&m, &d);
    for (option = options; *option; option++)
        if (!set_option(&m, *option)) {
            fprintf(stderr, "mkimage: what is %s?\n", *option);
            return 64;
        }
    bool ok = write_file(&m, argv[1]);
    if (!ok)
        perror("mkimage");
    maker_free(&m);
    free(options);
    return ok ? 0 : 2;
}
