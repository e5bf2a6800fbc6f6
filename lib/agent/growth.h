/* SPDX-License-Identifier: BSD-3-Clause
 *
 * By how much the process has grown: its resident set, or what can be known of it without opening
 * a file.
 */
#ifndef GM_AGENT_GROWTH_H
#define GM_AGENT_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

/* growth_start begins to count, bytes; `by` is what has_grown asks for, 0: nothing is measured.
 * From the constructor, and in a forked child. */
void growth_start(uint64_t by);

/* growth_measure looks, and returns whether it has grown by so much.  own_table: the caller has
 * descriptors of its own. */
bool growth_measure(bool own_table);

/* growth_restart counts from what was last measured. */
void growth_restart(void);

#endif
