/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dwarf_fuzz FILE N [SEED [only]]: hostile programs.  Makes N mutations of an ELF file with debug
 * information, by a generator that depends on nothing but SEED, and looks names up all over its
 * code: whatever the bytes, that must end, without a crash.  Most damage goes to the debug
 * information, some to symbol tables and headers, and some cuts the file off.  `only` makes the
 * Nth mutation alone, which is what a failure prints.
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names/debuginfo.h"
#include "names/demangle.h"

#define MOST_SECTIONS 64
#define STEP          7   /* bytes between the places that are looked up */
#define PATIENCE      600 /* s a mutation may take; a healthy one takes a millisecond */

struct piece {
    size_t at, size;
};

struct victim {
    unsigned char *bytes;
    size_t size;
    struct piece pieces[MOST_SECTIONS]; /* debug information and symbols */
    size_t npieces;
    struct piece text;
};

static uint64_t state;
static unsigned long current;

static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t below(size_t n) {
    return n ? next_random() % n : 0;
}

static char note[64]; /* what is said if this mutation fails */

static void failed(int signal) {
    (void)signal;
    if (write(STDERR_FILENO, note, strlen(note)) < 0)
        _exit(2);
    _exit(1);
}

static void read_victim(const char *path, struct victim *v) {
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) || !(v->bytes = malloc((size_t)st.st_size)) ||
        read(fd, v->bytes, (size_t)st.st_size) != st.st_size)
        exit(2);
    close(fd);
    v->size = (size_t)st.st_size;
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)v->bytes;
    const Elf64_Shdr *shdr = (const Elf64_Shdr *)(v->bytes + ehdr->e_shoff);
    const char *names = (const char *)v->bytes + shdr[ehdr->e_shstrndx].sh_offset;
    for (int i = 0; i < ehdr->e_shnum && v->npieces < MOST_SECTIONS; i++) {
        const char *name = names + shdr[i].sh_name;
        struct piece piece = {shdr[i].sh_offset, shdr[i].sh_size};
        if (strcmp(name, ".text") == 0)
            v->text = piece;
        if (strncmp(name, ".debug_", 7) == 0 || strcmp(name, ".symtab") == 0)
            v->pieces[v->npieces++] = piece;
    }
    v->pieces[v->npieces++] = (struct piece){0, sizeof *ehdr};
    v->pieces[v->npieces++] =
        (struct piece){ehdr->e_shoff, (size_t)ehdr->e_shnum * sizeof(Elf64_Shdr)};
}

/* damage changes bytes at one place: one of them, to what is dangerous, or some to anything. */
static void damage(const struct victim *v, unsigned char *bytes) {
    static const unsigned char dangerous[] = {0, 1, 0x7f, 0x80, 0xff, 0x34, 0x13, 0x02};
    const struct piece *piece = &v->pieces[below(v->npieces)];
    if (piece->size == 0)
        return;
    size_t at = piece->at + below(piece->size), n = 1 + below(below(4) ? 2 : 8);
    for (size_t i = 0; i < n && at + i < v->size; i++)
        bytes[at + i] =
            below(2) ? dangerous[below(sizeof dangerous)] : (unsigned char)next_random();
}

static void ignore(void *context, uint64_t offset, const struct debuginfo_frame *frames, size_t n,
                   bool whole) {
    volatile char sink = 0;
    (void)context, (void)offset, (void)whole;
    for (size_t i = 0; i < n; i++) {
        if (frames[i].function)
            free(demangle(frames[i].function));
        sink = frames[i].file ? frames[i].file[strlen(frames[i].file)] : 0;
    }
    (void)sink;
}

/* ask looks names up; returns whether the file was taken for one. */
static bool ask(const struct victim *v, const char *path) {
    static uint64_t offsets[4096];
    struct debuginfo *d;
    size_t n = 0;
    if (debuginfo_open(path, "", NULL, 0, &d))
        return false;
    for (size_t at = 0; at < v->text.size && n < 4096; at += STEP)
        offsets[n++] = v->text.at + at;
    debuginfo_expect(d, offsets, n);
    for (size_t i = 0; i < n; i += 1 + n / 8)
        debuginfo_lookup(d, offsets[i], &(struct debuginfo_receiver){ignore, NULL});
    debuginfo_missing(d);
    debuginfo_close(d);
    return true;
}

static bool mutation(const struct victim *v, uint64_t seed) {
    char path[64];
    unsigned char *bytes = malloc(v->size);
    if (!bytes)
        exit(2);
    memcpy(bytes, v->bytes, v->size);
    state = seed * 1000003 + current;
    for (size_t i = 1 + below(4); i > 0; i--)
        damage(v, bytes);
    size_t size = below(16) ? v->size : below(v->size);
    int fd = memfd_create("victim", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        exit(2);
    free(bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    snprintf(note, sizeof note, "dwarf_fuzz: a signal in mutation %lu\n", current);
    alarm(PATIENCE);
    bool taken = ask(v, path);
    close(fd);
    return taken;
}

int main(int argc, char **argv) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM};
    struct victim v = {.npieces = 0};
    if (argc < 3)
        return 64;
    unsigned long n = strtoul(argv[2], NULL, 0), taken = 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    read_victim(argv[1], &v);
    for (size_t i = 0; argc < 5 && i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], failed);
    unsetenv("DEBUGINFOD_URLS");
    for (current = argc > 4 ? n : 1; current <= n; current++)
        taken += mutation(&v, seed);
    printf("%lu mutations, %lu taken for programs\n", n, taken);
    free(v.bytes);
    return argc < 5 && taken == 0;
}
