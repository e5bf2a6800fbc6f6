/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An ELF file that is open for reading; with debuginfo.c and units.c the only ones that know
 * elfutils.
 *
 * The file is mapped, not read: of a debug file of 2 GiB a profile touches a small part.  What was
 * touched counts as this program's memory nevertheless, so elffile_forget() drops it from time to
 * time.  The mapping cannot be written to, so that nothing can be lost by that.
 */
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names/elffile.h"
#include "base/say.h"

int elffile_open(const char *path, struct elffile *ret) {
    struct stat st;
    *ret = (struct elffile){.fd = -1};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    elf_version(EV_CURRENT);
    Elf *elf =
        fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
    if (!elf || elf_kind(elf) != ELF_K_ELF) {
        elf_end(elf);
        close(fd);
        return -ENOEXEC;
    }
    *ret = (struct elffile){
        .path = must_dup(path), .fd = fd, .elf = elf, .size = (uint64_t)st.st_size};
    const void *id;
    ssize_t len = dwelf_elf_gnu_build_id(elf, &id);
    if (len > 0) {
        ret->build_id = id;
        ret->build_id_len = (size_t)len;
    }
    GElf_Word crc = 0;
    ret->debuglink = dwelf_elf_gnu_debuglink(elf, &crc);
    ret->debuglink_crc = crc;
    return 0;
}

void elffile_close(struct elffile *f) {
    if (!f->path)
        return;
    elf_end(f->elf);
    close(f->fd);
    free(f->path);
    *f = (struct elffile){.fd = -1};
}

bool elffile_has_build_id(const struct elffile *f, const uint8_t *id, size_t len) {
    return len > 0 && f->build_id_len == len && memcmp(f->build_id, id, len) == 0;
}

/* find_section finds a section that has bytes in the file. */
static Elf_Scn *find_section(const struct elffile *f, const char *name) {
    size_t names;
    if (elf_getshdrstrndx(f->elf, &names) != 0)
        return NULL;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(f->elf, scn));) {
        GElf_Shdr shdr;
        const char *s = gelf_getshdr(scn, &shdr) ? elf_strptr(f->elf, names, shdr.sh_name) : NULL;
        if (s && strcmp(s, name) == 0 && shdr.sh_type != SHT_NOBITS && shdr.sh_size > 0)
            return scn;
    }
    return NULL;
}

bool elffile_has_dwarf(const struct elffile *f) {
    return find_section(f, ".debug_info") || find_section(f, ".zdebug_info");
}

const uint8_t *elffile_section(const struct elffile *f, const char *name, size_t *ret_size) {
    Elf_Scn *scn = find_section(f, name);
    Elf_Data *data = scn ? elf_rawdata(scn, NULL) : NULL;
    Elf_Data *whole = scn ? elf_getdata(scn, NULL) : NULL;
    if (whole && whole->d_buf)
        data = whole; /* decompressed, if libdw has asked for that */
    if (!data || !data->d_buf)
        return NULL;
    *ret_size = data->d_size;
    return data->d_buf;
}

uint32_t elffile_crc(const struct elffile *f) {
    uint32_t table[256], crc = 0xffffffff;
    unsigned char buf[65536];
    ssize_t n;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
    }
    for (off_t at = 0; (n = pread(f->fd, buf, sizeof(buf), at)) > 0; at += n)
        for (ssize_t i = 0; i < n; i++)
            crc = table[(crc ^ buf[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

bool elffile_address(const struct elffile *f, uint64_t offset, uint64_t *ret) {
    size_t n;
    if (elf_getphdrnum(f->elf, &n) != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(f->elf, (int)i, &phdr) && phdr.p_type == PT_LOAD &&
            offset >= phdr.p_offset && offset - phdr.p_offset < phdr.p_filesz) {
            *ret = offset - phdr.p_offset + phdr.p_vaddr;
            return true;
        }
    }
    return false;
}

bool elffile_first_address(const struct elffile *f, uint64_t *ret) {
    return elffile_address(f, 0, ret);
}

const char *elffile_section_at(const struct elffile *f, uint64_t address) {
    size_t names;
    if (elf_getshdrstrndx(f->elf, &names) != 0)
        return NULL;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(f->elf, scn));) {
        GElf_Shdr shdr;
        if (gelf_getshdr(scn, &shdr) && shdr.sh_flags & SHF_ALLOC && !(shdr.sh_flags & SHF_TLS) &&
            address - shdr.sh_addr < shdr.sh_size)
            return elf_strptr(f->elf, names, shdr.sh_name);
    }
    return NULL;
}

uint64_t elffile_tls_bytes(const struct elffile *f) {
    size_t n;
    if (elf_getphdrnum(f->elf, &n) != 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr phdr;
        if (!gelf_getphdr(f->elf, (int)i, &phdr) || phdr.p_type != PT_TLS)
            continue;
        uint64_t align = phdr.p_align ? phdr.p_align : 1;
        uint64_t bytes = phdr.p_memsz + (align - phdr.p_memsz % align) % align;
        return bytes < INT32_MAX ? bytes : 0;
    }
    return 0;
}

void elffile_forget(const struct elffile *f) {
    size_t size = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    char *base = f->elf ? elf_rawfile(f->elf, &size) : NULL;
    /* where the file could not be mapped, libelf has read it into malloc's memory: never a page's
     * beginning, as that is behind malloc's own header */
    if (base && size >= page && (uintptr_t)base % page == 0)
        madvise(base, size, MADV_DONTNEED);
}
