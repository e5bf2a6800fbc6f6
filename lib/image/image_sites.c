/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "frame" and "site": the recorder's stack table and the cumulative figures.
 *
 * The tables only grow, and are read without locks.  Frames come first in the file, but a site must
 * not name a frame that is not there: so the sites are counted before the frames.
 */
#include "image/image_private.h"
#include "prof/prof.h"

uint64_t image_stream_frames(struct image_writer *w) {
    w->nsites = image_wants(w, GOMALLOC_SECTION_SITE) ? prof_nsites() : 0;
    uint32_t n = prof_nframes();
    for (uint32_t i = 1; i <= n; i++) {
        struct gomalloc_frame r = {0};
        prof_frame(i, &r.pc, &r.parent, &r.depth);
        image_out_put(&w->out, &r, sizeof r);
    }
    return n;
}

uint64_t image_stream_sites(struct image_writer *w) {
    for (uint32_t i = 1; i <= w->nsites; i++) {
        struct prof_site_figures f = {0};
        prof_site(i, &f);
        struct gomalloc_site r = {
            .site = i,
            .frame = f.node,
            .flags = f.flags,
            .samples = f.samples,
            .sample_bytes = f.sample_bytes,
            .alloc_objects = f.alloc_objects,
            .alloc_bytes = f.alloc_bytes,
        };
        image_out_put(&w->out, &r, sizeof r);
    }
    return w->nsites;
}
