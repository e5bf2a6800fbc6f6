/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Believing a leak check: the sections "leak", "leak_check", "root" and "held".
 *
 * The library writes them together, of a heap at rest; so nothing has come later, and what
 * does not add up is damage.  Only an image that was cut may lack records of leaks: those whose
 * head is among the missing are their own.
 */
#include <errno.h>

#include "image/image_checker.h"

#define MOST IMAGE_MOST

static bool cut(const struct checker *c) {
    return (c->im->header.flags & GOMALLOC_IMAGE_CUT) != 0;
}

bool image_knows_site(const struct checker *c, uint32_t site) {
    return site == 0 || image_find(c->im, GOMALLOC_SECTION_SITE, site) != SIZE_MAX ||
           (!c->im->sections[GOMALLOC_SECTION_SITE].present &&
            (c->im->header.flags & GOMALLOC_IMAGE_PARTIAL));
}

/* head_of returns the record that another one is counted under, NULL: there is none. */
static const struct gomalloc_leak *head_of(const struct checker *c, const struct gomalloc_leak *l) {
    size_t n, found = image_find(c->im, GOMALLOC_SECTION_LEAK, l->head);
    const struct gomalloc_leak *all = image_section(c->im, GOMALLOC_SECTION_LEAK, &n);
    return found < n ? &all[found] : NULL;
}

/* correct_head makes a leak of a cut image its own head. */
static int correct_head(struct checker *c, size_t i) {
    struct gomalloc_leak *own = image_own(c->im, GOMALLOC_SECTION_LEAK);
    if (!own)
        return -ENOMEM;
    own[i].head = own[i].address;
    return 0;
}

static int check_leak(struct checker *c, size_t i) {
    size_t n;
    const struct gomalloc_leak *all = image_section(c->im, GOMALLOC_SECTION_LEAK, &n), *l = &all[i];
    unsigned long long at = l->address;
    if (i && all[i - 1].address + all[i - 1].size > l->address)
        return damaged(c, "leak at 0x%llx: not behind the one before", at);
    if (l->size == 0 || l->size > MOST || l->address > INT64_MAX - MOST || l->requested > l->size)
        return damaged(c, "leak at 0x%llx: senseless size", at);
    if (!image_knows_site(c, l->site))
        return damaged(c, "leak at 0x%llx: no such site", at);
    const struct gomalloc_leak *head = head_of(c, l);
    if (head && head->head == head->address)
        return 0;
    return cut(c) && !head ? correct_head(c, i)
                           : damaged(c, "leak at 0x%llx: counted under none", at);
}

static int check_leaks(struct checker *c, uint64_t *ret_direct) {
    size_t n;
    int rc = 0;
    *ret_direct = 0;
    image_section(c->im, GOMALLOC_SECTION_LEAK, &n);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = check_leak(c, i);
        const struct gomalloc_leak *l = image_section(c->im, GOMALLOC_SECTION_LEAK, &n);
        *ret_direct += l[i].head == l[i].address;
    }
    return rc;
}

/* check_counts holds what the check says of itself against the leaks. */
static int check_counts(struct checker *c, uint64_t direct) {
    size_t n, nleaks;
    const struct gomalloc_leak_check *k = image_section(c->im, GOMALLOC_SECTION_LEAK_CHECK, &n);
    image_section(c->im, GOMALLOC_SECTION_LEAK, &nleaks);
    if (n == 0 && nleaks == 0)
        return 0;
    if (n != 1)
        return damaged(c, "%zu leak checks", n);
    if (k->live_objects > MOST || k->reached_objects > k->live_objects)
        return damaged(c, "leak check: more was reached than lives");
    if (k->spared_objects > k->reached_objects || k->ignored_objects > k->reached_objects)
        return damaged(c, "leak check: more was ignored than reached");
    if (k->held_objects > k->reached_objects || k->held_bytes > MOST)
        return damaged(c, "leak check: stacks keep more than was reached");
    if (lacks(c, GOMALLOC_SECTION_LEAK)) /* an answer to WHY */
        return 0;
    uint64_t leaked = k->live_objects - k->reached_objects;
    if (cut(c) ? nleaks > leaked : nleaks != leaked || direct != k->direct)
        return damaged(c, "leak check: %llu leaks are said, %zu told", (unsigned long long)leaked,
                       nleaks);
    return 0;
}

static int check_roots(struct checker *c) {
    size_t n;
    const struct gomalloc_root *r = image_section(c->im, GOMALLOC_SECTION_ROOT, &n);
    for (size_t i = 0; i < n; i++)
        if (r[i].bytes > MOST || r[i].objects > MOST)
            return damaged(c, "roots of kind %u: senseless figures", r[i].kind);
    return 0;
}

static int check_word(struct checker *c, const struct gomalloc_held *h) {
    size_t nframes;
    unsigned long long at = h->address;
    image_section(c->im, GOMALLOC_SECTION_FRAME, &nframes);
    if (h->size == 0 || h->size > MOST || h->address > INT64_MAX - MOST || h->requested > h->size ||
        h->word > INT64_MAX)
        return damaged(c, "held object at 0x%llx: senseless size", at);
    if (h->kind != GOMALLOC_ROOT_STACK && h->kind != GOMALLOC_ROOT_REGISTER)
        return damaged(c, "held object at 0x%llx: by a root of kind %u", at, h->kind);
    if (!image_knows_site(c, h->site))
        return damaged(c, "held object at 0x%llx: no such site", at);
    if (h->frame > nframes && !lacks(c, GOMALLOC_SECTION_FRAME))
        return damaged(c, "held object at 0x%llx: no such frame", at);
    return 0;
}

/* check_held holds the words against the sums of the check: there may be more than are told. */
static int check_held(struct checker *c) {
    size_t n, nchecks;
    uint64_t objects = 0, bytes = 0;
    const struct gomalloc_held *h = image_section(c->im, GOMALLOC_SECTION_HELD, &n);
    const struct gomalloc_leak_check *k =
        image_section(c->im, GOMALLOC_SECTION_LEAK_CHECK, &nchecks);
    if (n != 0 && nchecks == 0)
        return damaged(c, "held objects without a leak check");
    for (size_t i = 0; i < n; i++) {
        int rc = check_word(c, &h[i]);
        if (rc)
            return rc;
        if (h[i].objects == 0 || h[i].objects > k->held_objects - objects ||
            h[i].bytes < h[i].size || h[i].bytes > k->held_bytes - bytes)
            return damaged(c, "held objects: their sum is another than is said");
        objects += h[i].objects;
        bytes += h[i].bytes;
    }
    return 0;
}

int image_check_leak(struct image *im, char *err, size_t errlen) {
    struct checker c = {im, err, errlen};
    uint64_t direct;
    int rc = check_leaks(&c, &direct);
    if (!rc)
        rc = check_counts(&c, direct);
    if (!rc)
        rc = check_roots(&c);
    if (!rc)
        rc = check_held(&c);
    if (!rc)
        rc = image_check_crash(&c);
    return rc ? rc : image_check_why(&c);
}
