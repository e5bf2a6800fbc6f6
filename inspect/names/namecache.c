/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names that have been looked up before: $XDG_CACHE_HOME/goinspect/BUILD-ID.names, or below
 * ~/.cache.
 *
 *      struct header
 *      struct entry [nentries]      ascending by offset
 *      struct frame [nframes]
 *      char [nbytes]                strings; a string is an offset here, and 0 is none
 *
 * A file is read as a whole and replaced as a whole, by rename, so that any number of goinspects
 * may use it: who comes last wins, and what the other one has added is looked up once more.  It is
 * a cache: what is damaged, of another version, somebody else's, or made from other debug
 * information than there is today (the stamp) is passed over and overwritten.  The checksum is not
 * against enemies: who can write into the directory is the user.
 *
 * A database would do too, but not notice a changed byte; and the names of a program are some MiB,
 * which are read in some ms.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "names/cachedir.h"
#include "names/namecache.h"
#include "base/savefile.h"
#include "base/say.h"

#define MAGIC     0x73656d616e6d47u /* "Gmnames" */
#define VERSION   1                 /* of the layout, and of how names are made */
#define MOST_SIZE ((size_t)32 << 20)
#define RECENT    4096

struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t lines;
    uint64_t stamp;
    uint64_t checksum; /* of all that follows the header */
    uint32_t nentries;
    uint32_t nframes;
    uint32_t nbytes;
    uint32_t build_id_len;
    uint8_t build_id[64];
};

struct entry {
    uint64_t offset;
    uint32_t first; /* of its frames */
    uint32_t n;
};

struct frame {
    uint32_t function, file; /* strings */
    uint32_t line, column;
};

static bool off;

void namecache_off(void) {
    off = true;
}

static bool wanted(void) {
    const char *value = getenv("GOINSPECT_CACHE");
    return !off && !(value && strcmp(value, "off") == 0);
}

/* path_of returns the path of a file, NULL if there is to be none. */
static char *path_of(const struct namecache_key *key) {
    char hex[2 * 64 + 1] = "";
    if (!wanted() || key->build_id_len < 8 || key->build_id_len > 64)
        return NULL;
    char *dir = cachedir_path();
    if (!dir)
        return NULL;
    for (size_t i = 0; i < key->build_id_len; i++)
        snprintf(hex + 2 * i, 3, "%02x", key->build_id[i]);
    char *path = must_format("%s/%s" CACHEDIR_SUFFIX, dir, hex);
    free(dir);
    return path;
}

static uint64_t checksum(const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    uint64_t sum = 0xcbf29ce484222325, word; /* FNV-1a, a word at a time */
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        sum = (sum ^ word) * 0x100000001b3;
        sum ^= sum >> 29;
    }
    for (; n; p++, n--)
        sum = (sum ^ *p) * 0x100000001b3;
    return sum;
}

/* read_file reads a file of ours; NULL if it is not, or too large. */
static void *read_file(const char *path, size_t *ret_size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    char *bytes = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        st.st_size >= (off_t)sizeof(struct header) && st.st_size <= (off_t)MOST_SIZE) {
        bytes = must_calloc((size_t)st.st_size, 1);
        *ret_size = (size_t)st.st_size;
        if (read(fd, bytes, *ret_size) != (ssize_t)*ret_size) {
            free(bytes);
            bytes = NULL;
        }
    }
    if (bytes && st.st_mtim.tv_sec + 3600 < time(NULL))
        futimens(fd, NULL); /* in use: the oldest are deleted first */
    close(fd);
    return bytes;
}

static bool right(const struct header *h, size_t size, const struct namecache_key *key) {
    return h->magic == MAGIC && h->version == VERSION && h->stamp == key->stamp &&
           h->build_id_len == key->build_id_len &&
           memcmp(h->build_id, key->build_id, key->build_id_len) == 0 && h->nbytes > 0 &&
           size == sizeof(*h) + h->nentries * sizeof(struct entry) +
                       h->nframes * sizeof(struct frame) + h->nbytes &&
           ((const char *)h)[size - 1] == '\0' && h->checksum == checksum(h + 1, size - sizeof(*h));
}

/* unpack makes the entries of a file that has the right size; false if they make no sense. */
static bool unpack(const struct header *h, struct namecache *ret) {
    const struct entry *entries = (const struct entry *)(h + 1);
    const struct frame *frames = (const struct frame *)(entries + h->nentries);
    const char *strings = (const char *)(frames + h->nframes);
    struct symbol_frame *out = ret->frames = must_calloc(h->nframes, sizeof(*out));
    ret->entries = must_calloc(h->nentries, sizeof(*ret->entries));
    ret->n = h->nentries;
    ret->lines = h->lines;
    for (size_t i = 0; i < h->nframes; i++) {
        const struct frame *f = &frames[i];
        if (f->function >= h->nbytes || f->file >= h->nbytes)
            return false;
        out[i] = (struct symbol_frame){.function = f->function ? strings + f->function : NULL,
                                       .file = f->file ? strings + f->file : NULL,
                                       .line = f->line,
                                       .column = f->column};
    }
    for (size_t i = 0; i < h->nentries; i++) {
        const struct entry *e = &entries[i];
        if (e->first > h->nframes || e->n > h->nframes - e->first || e->n == 0 ||
            (i && e->offset <= e[-1].offset))
            return false;
        ret->entries[i] = (struct namecache_entry){e->offset, out + e->first, e->n};
    }
    return true;
}

bool namecache_load(const struct namecache_key *key, struct namecache *ret) {
    char *path = path_of(key);
    size_t size = 0;
    *ret = (struct namecache){.memory = path ? read_file(path, &size) : NULL};
    free(path);
    if (ret->memory && right(ret->memory, size, key) && unpack(ret->memory, ret))
        return true;
    namecache_free(ret);
    return false;
}

void namecache_free(struct namecache *c) {
    free(c->entries);
    free(c->frames);
    free(c->memory);
    *c = (struct namecache){.n = 0};
}

/* A file in the making. */
struct writer {
    struct header header;
    struct entry *entries;
    struct frame *frames;
    char *bytes;
    size_t frames_room, bytes_room;
    uint32_t recent[RECENT]; /* strings by hash, so that few are there twice; 0 = none */
};

static uint32_t add_string(struct writer *w, const char *s) {
    struct header *h = &w->header;
    size_t size = strlen(s) + 1;
    if (h->nbytes + size > w->bytes_room) {
        w->bytes_room = (h->nbytes + size) * 2;
        w->bytes = must_realloc(w->bytes, w->bytes_room, 1);
    }
    memcpy(w->bytes + h->nbytes, s, size);
    h->nbytes += (uint32_t)size;
    return h->nbytes - (uint32_t)size;
}

/* known_string is add_string for one that may be there already. */
static uint32_t known_string(struct writer *w, const char *s) {
    if (!s)
        return 0;
    uint32_t *recent = &w->recent[checksum(s, strlen(s)) % RECENT];
    if (*recent == 0 || strcmp(w->bytes + *recent, s) != 0)
        *recent = add_string(w, s);
    return *recent;
}

static void add_entry(struct writer *w, const struct namecache_entry *e) {
    struct header *h = &w->header;
    w->entries[h->nentries++] = (struct entry){e->offset, h->nframes, (uint32_t)e->n};
    for (size_t i = 0; i < e->n; i++) {
        const struct symbol_frame *f = &e->frames[i];
        if (h->nframes == w->frames_room) {
            w->frames_room = w->frames_room ? w->frames_room * 2 : 1024;
            w->frames = must_realloc(w->frames, w->frames_room, sizeof(*w->frames));
        }
        w->frames[h->nframes++] = (struct frame){.function = known_string(w, f->function),
                                                 .file = known_string(w, f->file),
                                                 .line = f->line,
                                                 .column = f->column};
    }
}

/* merge adds the entries of both; where both have one, that of a. */
static void merge(struct writer *w, const struct namecache *a, const struct namecache *b) {
    size_t i = 0, j = 0;
    while (i < a->n || j < b->n) {
        bool first = j == b->n || (i < a->n && a->entries[i].offset <= b->entries[j].offset);
        if (first && j < b->n && a->entries[i].offset == b->entries[j].offset)
            j++;
        add_entry(w, first ? &a->entries[i++] : &b->entries[j++]);
    }
}

/* pack returns the file with the entries of both, to be freed. */
static char *pack(const struct namecache_key *key, const struct namecache *a,
                  const struct namecache *b, size_t *ret_size) {
    struct writer w = {.header = {.magic = MAGIC,
                                  .version = VERSION,
                                  .lines = a->lines,
                                  .stamp = key->stamp,
                                  .build_id_len = (uint32_t)key->build_id_len}};
    memcpy(w.header.build_id, key->build_id, key->build_id_len);
    w.entries = must_calloc(a->n + b->n, sizeof(*w.entries));
    add_string(&w, "");
    merge(&w, a, b);
    const struct header *h = &w.header;
    size_t entries = h->nentries * sizeof(*w.entries), frames = h->nframes * sizeof(*w.frames);
    *ret_size = sizeof(*h) + entries + frames + h->nbytes;
    char *file = must_calloc(*ret_size, 1);
    memcpy(file + sizeof(*h), w.entries, entries);
    if (frames)
        memcpy(file + sizeof(*h) + entries, w.frames, frames);
    memcpy(file + sizeof(*h) + entries + frames, w.bytes, h->nbytes);
    w.header.checksum = checksum(file + sizeof(*h), *ret_size - sizeof(*h));
    memcpy(file, &w.header, sizeof(*h));
    free(w.entries);
    free(w.frames);
    free(w.bytes);
    return file;
}

void namecache_save(const struct namecache_key *key, const struct namecache *c) {
    const struct namecache nothing = {.n = 0};
    struct namecache old;
    char *path = path_of(key);
    size_t size;
    if (!path || c->n == 0 || !cachedir_make()) {
        free(path);
        return;
    }
    namecache_load(key, &old);
    char *file = pack(key, c, &old, &size);
    if (size > MOST_SIZE) { /* of old programs' runs there may be too much */
        free(file);
        file = pack(key, c, &nothing, &size);
    }
    if (size <= MOST_SIZE && savefile_own(path, file, size) == 0)
        cachedir_trim();
    namecache_free(&old);
    free(file);
    free(path);
}
