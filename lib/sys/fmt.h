/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text without stdio and without the heap.
 *
 * A struct fmt collects text in a buffer that the caller owns; what does not fit is dropped and
 * noted in `cut`.  The text is always NUL-terminated.
 */
#ifndef GM_SYS_FMT_H
#define GM_SYS_FMT_H

#include "sys/compiler.h"

struct fmt {
    char *buf;
    size_t cap; /* bytes, terminator included; at least 1 */
    size_t len; /* bytes, terminator not included */
    bool cut;   /* something did not fit */
};

struct fmt fmt_on(char *buf, size_t cap);
void fmt_char(struct fmt *f, char c);
void fmt_str(struct fmt *f, const char *s);
void fmt_mem(struct fmt *f, const char *s, size_t n);
void fmt_uint(struct fmt *f, uint64_t v);
void fmt_int(struct fmt *f, int64_t v);
void fmt_hex(struct fmt *f, uint64_t v); /* 0x... */

/* fmt_write writes the text to the descriptor, as far as the kernel takes it. */
void fmt_write(const struct fmt *f, int fd);

/* parse_uint reads a decimal number with an optional suffix K, M, G (of 1024) from s up to n bytes.
 * False: not a number, or out of range. */
bool parse_uint(const char *s, size_t n, uint64_t *ret);

#endif
