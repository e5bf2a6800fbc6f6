/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap's pages as a picture in characters.
 */
#ifndef GOINSPECT_CHUNKMAP_H
#define GOINSPECT_CHUNKMAP_H

#include "output/output.h"
#include "target/target.h"

/* chunkmap_show paints the chunks of target's snapshot as wide as the terminal (80 cells if it has
 * none). */
enum status chunkmap_show(const struct output_options *options, const struct target *target,
                          struct failure *failure);

#endif
