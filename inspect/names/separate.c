/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where the debug information of a stripped file is: GDB's rules, which distributions keep to.
 *
 *      /usr/lib/debug/.build-id/ab/cdef....debug     by the build-id, abcdef...
 *      FOLDER/NAME, FOLDER/.debug/NAME,              by .gnu_debuglink, which holds NAME and a
 *      /usr/lib/debug/FOLDER/NAME                    checksum
 *
 * A process in a container has its files below a root; debug files are looked for there, and then
 * here, where there are more of them more often.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/say.h"
#include "names/separate.h"

#define DEBUG_DIR "/usr/lib/debug"

static void add(struct separate *s, char *path) {
    if (s->n < SEPARATE_MOST)
        s->paths[s->n++] = path;
    else
        free(path);
}

/* id_path returns ROOT/usr/lib/debug/.build-id/ab/cdef....debug. */
static char *id_path(const char *root, const uint8_t *id, size_t len) {
    char hex[2 * 64 + 1] = "";
    for (size_t i = 0; i < len && i < 64; i++)
        snprintf(hex + 2 * i, 3, "%02x", id[i]);
    return must_format("%s" DEBUG_DIR "/.build-id/%.2s/%s.debug", root, hex, hex + 2);
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? must_dup_n(path, (size_t)(slash - path)) : must_dup(".");
}

void separate_places(const struct elffile *f, const char *path, const char *root,
                     struct separate *ret) {
    *ret = (struct separate){.n = 0};
    if (f->build_id_len > 1) {
        if (root[0])
            add(ret, id_path(root, f->build_id, f->build_id_len));
        add(ret, id_path("", f->build_id, f->build_id_len));
    }
    ret->nby_id = ret->n;
    if (!f->debuglink || !f->debuglink[0] || strchr(f->debuglink, '/'))
        return;
    char *folder = folder_of(path);
    add(ret, must_format("%s%s/%s", root, folder, f->debuglink));
    add(ret, must_format("%s%s/.debug/%s", root, folder, f->debuglink));
    if (root[0])
        add(ret, must_format("%s" DEBUG_DIR "%s/%s", root, folder, f->debuglink));
    add(ret, must_format(DEBUG_DIR "%s/%s", folder, f->debuglink));
    free(folder);
}

void separate_free(struct separate *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->paths[i]);
    s->n = 0;
}

static bool belongs(const struct elffile *debug, const struct elffile *f, bool by_id) {
    if (!elffile_has_dwarf(debug))
        return false;
    if (debug->build_id_len && f->build_id_len)
        return elffile_has_build_id(debug, f->build_id, f->build_id_len);
    return !by_id && elffile_crc(debug) == f->debuglink_crc;
}

bool separate_open(const struct separate *s, const struct elffile *f, struct elffile *ret) {
    for (size_t i = 0; i < s->n; i++) {
        if (elffile_open(s->paths[i], ret) != 0)
            continue;
        if (belongs(ret, f, i < s->nby_id))
            return true;
        elffile_close(ret);
    }
    return false;
}

bool separate_open_alt(const struct elffile *debug, const char *link, const uint8_t *build_id,
                       size_t build_id_len, const char *root, struct elffile *ret) {
    struct separate places = {.n = 0};
    char *folder = folder_of(debug->path);
    bool found = false;
    if (link[0] == '/') {
        add(&places, must_format("%s%s", root, link));
        if (root[0])
            add(&places, must_dup(link));
    } else
        add(&places, must_format("%s/%s", folder, link));
    add(&places, id_path(root, build_id, build_id_len));
    add(&places, id_path("", build_id, build_id_len));
    for (size_t i = 0; i < places.n && !found; i++) {
        if (elffile_open(places.paths[i], ret) != 0)
            continue;
        found = elffile_has_build_id(ret, build_id, build_id_len);
        if (!found)
            elffile_close(ret);
    }
    separate_free(&places);
    free(folder);
    return found;
}

uint64_t separate_stamp(const struct separate *s) {
    uint64_t stamp = 0xcbf29ce484222325; /* FNV-1a, a word at a time */
    for (size_t i = 0; i < s->n; i++) {
        struct stat st;
        if (stat(s->paths[i], &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        const uint64_t words[] = {i + 1, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
                                  (uint64_t)st.st_mtim.tv_nsec};
        for (size_t j = 0; j < sizeof(words) / sizeof(*words); j++)
            stamp = (stamp ^ words[j]) * 0x100000001b3;
    }
    return stamp;
}
