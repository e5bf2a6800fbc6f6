/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Section "mapping": /proc/self/maps, and the build-ids of the modules in it.
 *
 * A build-id is read from the ELF headers and notes in memory, by way of the kernel
 * (process_vm_readv on ourselves): a mapping that another thread unmaps meanwhile is then an error,
 * not a fault.  Only files with executable pages are looked at, so that no data file is touched.
 */
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "image/image_private.h"
#include "leak/peek.h"

#define MAX_MAPPINGS 65536
#define MAX_PHDRS    64
#define MAX_NOTES    4096 /* bytes of one PT_NOTE that are looked through */

/* ---- lines of /proc/self/maps ------------------------------------------------------------- */

/* "7f1c5a400000-7f1c5a428000 r--p 00000000 fe:01 1311 <spaces>/usr/lib/libc.so.6" */
struct cursor {
    const char *p;
    const char *end;
};

static uint64_t take_number(struct cursor *c, unsigned base) {
    uint64_t v = 0;
    for (; c->p < c->end; c->p++) {
        unsigned digit;
        if (*c->p >= '0' && *c->p <= '9')
            digit = (unsigned)(*c->p - '0');
        else if (base == 16 && *c->p >= 'a' && *c->p <= 'f')
            digit = (unsigned)(*c->p - 'a') + 10;
        else
            break;
        v = v * base + digit;
    }
    if (c->p < c->end)
        c->p++; /* what ended it: '-', ':' or ' ' */
    return v;
}

static uint32_t take_prot(struct cursor *c) {
    uint32_t prot = 0;
    for (; c->p < c->end && *c->p != ' '; c->p++)
        prot |= *c->p == 'r'   ? PROT_READ
                : *c->p == 'w' ? PROT_WRITE
                : *c->p == 'x' ? PROT_EXEC
                               : 0u;
    if (c->p < c->end)
        c->p++;
    return prot;
}

/* same_path tells whether the path is the one that the record before has: files are mapped in
 * several pieces. */
static bool same_path(const struct image_writer *w, uint32_t str, struct cursor path) {
    const char *have = w->table[GOMALLOC_SECTION_STRING].p + str;
    size_t n = (size_t)(path.end - path.p);
    return str != 0 && strlen(have) == n && memcmp(have, path.p, n) == 0;
}

static void add_line(struct image_writer *w, struct cursor c) {
    struct gomalloc_mapping r = {0};
    r.start = take_number(&c, 16);
    r.end = take_number(&c, 16);
    r.prot = take_prot(&c);
    r.file_offset = take_number(&c, 16);
    r.dev_major = (uint32_t)take_number(&c, 16);
    r.dev_minor = (uint32_t)take_number(&c, 16);
    r.inode = take_number(&c, 10);
    while (c.p < c.end && *c.p == ' ')
        c.p++;
    bool named = c.p < c.end;
    if (!named && (r.prot & PROT_EXEC) == 0)
        return;
    size_t n = image_count(w, GOMALLOC_SECTION_MAPPING, sizeof r);
    if (n == MAX_MAPPINGS) {
        w->flags |= GOMALLOC_IMAGE_CUT;
        return;
    }
    uint32_t before =
        n != 0 ? ((struct gomalloc_mapping *)w->table[GOMALLOC_SECTION_MAPPING].p)[n - 1].path_str
               : 0;
    r.path_str = same_path(w, before, c) ? before : image_string(w, c.p, (size_t)(c.end - c.p));
    struct gomalloc_mapping *to = image_add(w, GOMALLOC_SECTION_MAPPING, sizeof r);
    if (to != NULL)
        *to = r;
}

/* add_lines adds the whole lines of the n bytes at text and returns how many bytes they are. */
static size_t add_lines(struct image_writer *w, const char *text, size_t n) {
    size_t done = 0;
    for (const char *nl; (nl = memchr(text + done, '\n', n - done)) != NULL;) {
        add_line(w, (struct cursor){text + done, nl});
        done = (size_t)(nl - text) + 1;
    }
    return done;
}

static void read_maps(struct image_writer *w) {
    int fd = raw_open("/proc/self/maps", O_RDONLY, 0);
    if (fd < 0)
        return;
    struct file_id id = file_id_of(fd);
    char *text = image_scratch(w);
    size_t have = 0;
    while (file_id_same(id, file_id_of(fd))) {
        long r = raw_read(fd, text + have, IMAGE_SCRATCH - have);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            break;
        have += (size_t)r;
        size_t done = add_lines(w, text, have);
        memmove(text, text + done, have - done);
        have -= done;
    }
    raw_close_own(fd, id);
}

/* ---- build-ids ---------------------------------------------------------------------------- */

/* read_self copies n bytes of our own memory; false if they are not all there. */
static bool read_self(uint64_t addr, void *buf, size_t n) {
    return peek(buf, addr, n) == n;
}

/* find_build_id looks through notes: a header, the owner's name, the contents, each padded to 4. */
static void find_build_id(struct gomalloc_mapping *r, const char *notes, size_t n) {
    Elf64_Nhdr note;
    for (size_t at = 0; at + sizeof note <= n;) {
        memcpy(&note, notes + at, sizeof note);
        at += sizeof note;
        size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
        size_t desc = ((size_t)note.n_descsz + 3) & ~(size_t)3;
        if (name > n - at || desc > n - at - name)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(notes + at, "GNU", 4) == 0 && note.n_descsz <= sizeof r->build_id) {
            memcpy(r->build_id, notes + at + name, note.n_descsz);
            r->build_id_len = note.n_descsz;
            return;
        }
        at += name + desc;
    }
}

/* module_bias returns what is added to the module's addresses: where its first bytes were put. */
static uint64_t module_bias(const struct gomalloc_mapping *r, const Elf64_Phdr *ph, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
            return r->start - ph[i].p_vaddr;
    return r->start;
}

static void read_build_id(struct image_writer *w, struct gomalloc_mapping *r) {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[MAX_PHDRS];
    char *notes = image_scratch(w);
    if (!read_self(r->start, &eh, sizeof eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 ||
        eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof ph[0] ||
        eh.e_phnum > MAX_PHDRS || !read_self(r->start + eh.e_phoff, ph, eh.e_phnum * sizeof ph[0]))
        return;
    uint64_t bias = module_bias(r, ph, eh.e_phnum);
    for (unsigned i = 0; i < eh.e_phnum && r->build_id_len == 0; i++) {
        size_t n = ph[i].p_memsz < MAX_NOTES ? ph[i].p_memsz : MAX_NOTES;
        if (ph[i].p_type == PT_NOTE && read_self(bias + ph[i].p_vaddr, notes, n))
            find_build_id(r, notes, n);
    }
}

static bool same_file(const struct gomalloc_mapping *a, const struct gomalloc_mapping *b) {
    return a->path_str == b->path_str && a->inode == b->inode && a->dev_major == b->dev_major &&
           a->dev_minor == b->dev_minor;
}

/* identify gives the mappings of one file, which are neighbours, its build-id. */
static void identify(struct image_writer *w, struct gomalloc_mapping *r, size_t n) {
    bool code = false;
    for (size_t i = 0; i < n; i++)
        code |= (r[i].prot & PROT_EXEC) != 0;
    if (!code || r[0].file_offset != 0 || (r[0].prot & PROT_READ) == 0)
        return;
    read_build_id(w, &r[0]);
    for (size_t i = 1; i < n; i++) {
        memcpy(r[i].build_id, r[0].build_id, sizeof r[i].build_id);
        r[i].build_id_len = r[0].build_id_len;
    }
}

void image_gather_mappings(struct image_writer *w) {
    read_maps(w);
    struct gomalloc_mapping *r = (struct gomalloc_mapping *)w->table[GOMALLOC_SECTION_MAPPING].p;
    size_t n = image_count(w, GOMALLOC_SECTION_MAPPING, sizeof *r), first = 0;
    for (size_t i = 1; i <= n; i++)
        if (i == n || !same_file(&r[i], &r[first])) {
            identify(w, &r[first], i - first);
            first = i;
        }
}
