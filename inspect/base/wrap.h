/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Paragraphs of text.
 */
#ifndef GOINSPECT_WRAP_H
#define GOINSPECT_WRAP_H

#include <stddef.h>
#include <stdio.h>

/* wrap_print writes a clean text (text_clean) in lines of at most width cells, broken at blanks; a
 * word that is longer has a line of its own.  The first line begins behind first blanks, the others
 * behind others. */
void wrap_print(FILE *out, const char *text, size_t width, size_t first, size_t others);

/* wrap_piece returns the bytes from s to the next blank at which a line may end. */
size_t wrap_piece(const char *s);

/* wrap_rest is wrap_print for a text behind what stands in the line already, `indent` cells. */
void wrap_rest(FILE *out, const char *text, size_t width, size_t indent);

#endif
