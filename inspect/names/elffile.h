/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An ELF file that is open for reading: program, library, or separate debug file.
 */
#ifndef GOINSPECT_ELFFILE_H
#define GOINSPECT_ELFFILE_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elffile {
    char *path;
    int fd;
    Elf *elf;
    uint64_t size;           /* bytes of the file */
    const uint8_t *build_id; /* the file's */
    size_t build_id_len;     /* 0 = it has none */
    const char *debuglink;   /* name of its separate debug file, NULL = it names none */
    uint32_t debuglink_crc;  /* of that file */
};

/*
 * elffile_open opens the file at path, and waits for nothing: a FIFO or a device is no ELF file.
 * 0, or
 *
 *      -ENOEXEC   not an ELF file
 *      others     what open(2) says
 */
int elffile_open(const char *path, struct elffile *ret);

void elffile_close(struct elffile *f); /* one that is all zero is allowed */

/* elffile_has_build_id compares; false if the file has none. */
bool elffile_has_build_id(const struct elffile *f, const uint8_t *id, size_t len);

/* elffile_has_dwarf tells whether there is debug information in this very file. */
bool elffile_has_dwarf(const struct elffile *f);

/* elffile_crc is the checksum that a debuglink has of its file; reads all of it. */
uint32_t elffile_crc(const struct elffile *f);

/* elffile_address turns an offset of the file into an address as the file counts them; false if
 * no loaded segment holds it. */
bool elffile_address(const struct elffile *f, uint64_t offset, uint64_t *ret);

/* elffile_first_address returns the address of the file's first byte, as the file counts them;
 * false: it is not loaded. */
bool elffile_first_address(const struct elffile *f, uint64_t *ret);

/* elffile_section_at returns the name of the section that an address, as the file counts them, is
 * in when it is loaded; NULL: in none. */
const char *elffile_section_at(const struct elffile *f, uint64_t address);

/* elffile_tls_bytes returns how far before a thread's pointer the thread-local variables of the
 * program begin, if the file is the program; 0: it has none. */
uint64_t elffile_tls_bytes(const struct elffile *f);

/* elffile_section returns the bytes of a section, NULL if it is not there.  One that is compressed
 * is as it is in the file, unless libdw has been there before. */
const uint8_t *elffile_section(const struct elffile *f, const char *name, size_t *ret_size);

/* elffile_forget gives the pages of the file that were read back to the kernel, which keeps them
 * for the next reader as long as it likes. */
void elffile_forget(const struct elffile *f);

#endif
