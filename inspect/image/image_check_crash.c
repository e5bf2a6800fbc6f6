/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Believing a crash: the section "crash".
 */
#include "image/image_checker.h"

int image_check_crash(struct checker *c) {
    size_t n, nframes;
    const struct gomalloc_crash *r = image_section(c->im, GOMALLOC_SECTION_CRASH, &n);
    image_section(c->im, GOMALLOC_SECTION_FRAME, &nframes);
    if (n > 1)
        return damaged(c, "%zu crashes", n);
    if (n == 1 && r->frame > nframes)
        return damaged(c, "crash: no such frame");
    if (n == 1 && (r->signal == 0 || r->signal > 64))
        return damaged(c, "crash: senseless signal %u", r->signal);
    return 0;
}
