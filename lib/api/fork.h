/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork.
 */
#ifndef GM_API_FORK_H
#define GM_API_FORK_H

/* fork_init registers the fork handlers: from the constructor. */
void fork_init(void);

#endif
