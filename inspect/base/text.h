/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text that may have been chosen by a stranger, and numbers as people read them.
 */
#ifndef GOINSPECT_TEXT_H
#define GOINSPECT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_NUMBER_SIZE 48 /* enough for every text_*() number below */

/* text_utf8_locale tells whether the terminal's character set is UTF-8. */
bool text_utf8_locale(void);

/* text_decode reads one character of the n > 0 bytes at s.  Returns its length in bytes and sets
 * *ret_c; an invalid byte is U+FFFD of length 1. */
size_t text_decode(const char *s, size_t n, uint32_t *ret_c);

/* text_is_control tells whether c must not reach a terminal: controls of both sets, and the
 * characters that turn the direction of writing round. */
bool text_is_control(uint32_t c);

/* text_clean returns a copy, for the caller to free, that is safe on a terminal: controls become
 * '?', blanks other than space become spaces, and what is not valid UTF-8 (or, without utf8, not
 * ASCII) becomes '?' or U+FFFD. */
char *text_clean(const char *s, size_t n, bool utf8);

/* text_width returns how many terminal cells the clean string s takes; our own colours take none.
 */
size_t text_width(const char *s);

/* text_bytes writes bytes in IEC units, aligned to right: "1.5 MiB", "312   B  ". */
void text_bytes(char *buf, double bytes);

/* text_bytes_plain is the same for a sentence: "1.5 MiB", "312 B". */
void text_bytes_plain(char *buf, double bytes);

/* text_parse_bytes reads "1", "48B", "512k", "512KiB", "2M", at most 2^50. */
bool text_parse_bytes(const char *word, uint64_t *ret);

/* text_count writes n with a comma between thousands. */
void text_count(char *buf, int64_t n);

/* text_duration writes a time as its two largest units: "3d 4h", "12m 5s", "1.5 ms". */
void text_duration(char *buf, int64_t ns);

/* text_moment writes a time since 1970 in local time: "2024-05-01 12:00:00". */
void text_moment(char *buf, int64_t ns);

/* text_nearest returns the name nearest to word among n names, or NULL if none is near enough to
 * have been meant. */
const char *text_nearest(const char *word, const char *const *names, size_t n);

/* text_hint writes ": did you mean NEAREST?" with what text_nearest finds, or nothing. */
#define TEXT_HINT_SIZE 96
void text_hint(char *buf, const char *word, const char *const *names, size_t n);

#endif
