/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The process's mappings: /proc/self/maps, line by line, without libc.
 *
 * For threads of the library's own.  The reader opens a descriptor; where that is in the program's
 * table the program may close it and give the number to a file of its own, so before each read the
 * descriptor is asked whether it is still what it was.
 */
#ifndef GM_SYS_MAPS_H
#define GM_SYS_MAPS_H

#include "sys/file_id.h"

/* One line.  The path is not ended by a zero byte and lasts until the next line is read. */
struct maps_line {
    uint64_t start;
    uint64_t end;
    uint32_t prot; /* PROT_* */
    bool shared;   /* with other processes: MAP_SHARED */
    uint64_t offset;
    uint64_t inode;   /* 0: not of a file */
    const char *path; /* or "[stack]" and the like */
    size_t path_len;  /* 0: anonymous */
};

struct maps_reader {
    int fd; /* -1: closed */
    bool failed;
    struct file_id id; /* of fd when it was opened */
    size_t have;       /* bytes in buf */
    size_t done;       /* of these, told */
    char buf[8192];    /* a line is shorter: a path has 4095 bytes at most */
};

/* maps_open begins to read.  False: it can't be opened, and the reader is closed. */
bool maps_open(struct maps_reader *r);

/* maps_open_file reads another list: that of another process, or one with more lines a mapping. */
bool maps_open_file(struct maps_reader *r, const char *path);

/* maps_next_text returns the next line as it stands there, without its end; it lasts until the next
 * one is read.  maps_parse is for those that begin with an address. */
bool maps_next_text(struct maps_reader *r, const char **ret, size_t *ret_n);
struct maps_line maps_parse(const char *text, size_t n);

/* maps_next returns the next line; false: there is none, or it could not be read (r->failed). */
bool maps_next(struct maps_reader *r, struct maps_line *ret);
void maps_close(struct maps_reader *r);

/* maps_find returns the line of the mapping that holds addr; its path is r's.  False: none does. */
bool maps_find(struct maps_reader *r, uint64_t addr, struct maps_line *ret);

/* maps_path_is tells whether the line has that path. */
bool maps_path_is(const struct maps_line *l, const char *path);

#endif
