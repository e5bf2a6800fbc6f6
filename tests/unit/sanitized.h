/* SPDX-License-Identifier: BSD-3-Clause
 *
 * SANITIZED: 1 in a build with the address or the thread sanitizer, for tests of what these can't
 * bear: threads in a forked child (the one refuses, the other may hang, as its own malloc's locks
 * are not taken for a fork), and a process that is refused memory.
 */
#ifndef GM_TESTS_SANITIZED_H
#define GM_TESTS_SANITIZED_H

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(thread_sanitizer) || __has_feature(address_sanitizer))
#else
#define SANITIZED 0
#endif

#endif
