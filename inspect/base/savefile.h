/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing a file so that its name stands for the whole of it or for nothing.
 */
#ifndef GOINSPECT_SAVEFILE_H
#define GOINSPECT_SAVEFILE_H

#include <stddef.h>

/* savefile writes size bytes beside path, and renames the file into its place when all of it is on
 * disk.  0, or a negative errno; then path is as it was.  A device or a pipe is just written to. */
int savefile(const char *path, const void *bytes, size_t size);

/* savefile_own does so with a file that nobody names but goinspect: what else is in its place, a
 * link or a pipe, is replaced. */
int savefile_own(const char *path, const void *bytes, size_t size);

/* savefile_text does the same with a report that others may read, too, as the umask allows. */
int savefile_text(const char *path, const char *text, size_t size);

/* savefile_kind says what the end of a name means: 'g' = .gmi, 'd' = .db, 0 = neither. */
char savefile_kind(const char *path);

#endif
