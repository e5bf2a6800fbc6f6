/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text without stdio and without the heap.
 */
#include "sys/fmt.h"

#include "sys/rawcall.h"

struct fmt fmt_on(char *buf, size_t cap) {
    buf[0] = '\0';
    return (struct fmt){.buf = buf, .cap = cap};
}

void fmt_char(struct fmt *f, char c) {
    if (f->len + 1 >= f->cap) {
        f->cut = true;
        return;
    }
    f->buf[f->len++] = c;
    f->buf[f->len] = '\0';
}

void fmt_mem(struct fmt *f, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        fmt_char(f, s[i]);
}

void fmt_str(struct fmt *f, const char *s) {
    while (*s != '\0')
        fmt_char(f, *s++);
}

void fmt_uint(struct fmt *f, uint64_t v) {
    char digits[20];
    int n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n > 0)
        fmt_char(f, digits[--n]);
}

void fmt_int(struct fmt *f, int64_t v) {
    if (v < 0)
        fmt_char(f, '-');
    fmt_uint(f, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void fmt_hex(struct fmt *f, uint64_t v) {
    fmt_str(f, "0x");
    int shift = 60;
    while (shift > 0 && v >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        fmt_char(f, "0123456789abcdef"[v >> shift & 15]);
}

void fmt_write(const struct fmt *f, int fd) {
    for (size_t done = 0; done < f->len;) {
        long r = sys_call3(SYS_write, fd, (long)(f->buf + done), (long)(f->len - done));
        if (r == -4 /* EINTR */)
            continue;
        if (r <= 0)
            return;
        done += (size_t)r;
    }
}

static unsigned suffix_shift(char c) {
    switch (c) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    default:
        return 0;
    }
}

bool parse_uint(const char *s, size_t n, uint64_t *ret) {
    uint64_t v = 0;
    size_t i = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
            return false;
    if (i == 0)
        return false;
    if (i < n) {
        unsigned shift = suffix_shift(s[i++]);
        if (shift == 0 || i != n || v >> (64 - shift) != 0)
            return false;
        v <<= shift;
    }
    *ret = v;
    return true;
}
