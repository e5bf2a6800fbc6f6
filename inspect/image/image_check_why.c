/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Believing why an object lives: the sections "why", "why_step" and "referrer".
 */
#include "image/image_checker.h"

/* check_holder looks at what is the same for steps and referrers. */
static int check_holder(struct checker *c, const struct gomalloc_holder *h, const char *what) {
    unsigned long long at = h->start;
    bool object = h->kind == GOMALLOC_HOLDER_OBJECT;
    if (h->start > h->end || h->end > INT64_MAX || h->number > IMAGE_MOST)
        return damaged(c, "%s at 0x%llx: senseless bounds", what, at);
    if (h->kind > GOMALLOC_HOLDER_OBJECT || (object && h->requested > h->end - h->start))
        return damaged(c, "%s at 0x%llx: senseless kind or size", what, at);
    if (h->word > INT64_MAX || (object && h->word && h->word - h->start >= h->end - h->start))
        return damaged(c, "%s at 0x%llx: its word lies elsewhere", what, at);
    if (!image_knows_site(c, h->site))
        return damaged(c, "%s at 0x%llx: no such site", what, at);
    return 0;
}

/* check_step looks at step i of n. */
static int check_step(struct checker *c, const struct gomalloc_holder *steps, size_t i, size_t n,
                      uint64_t length) {
    uint64_t least = i ? steps[i - 1].number + 1 : 0;
    if (steps[i].number < least || (i == 0 && steps[i].number != 0) ||
        (i + 1 == n && steps[i].number + 1 != length))
        return damaged(c, "step %zu: not behind the one before", i);
    return check_holder(c, &steps[i], "step");
}

static int check_steps(struct checker *c, const struct gomalloc_why *y) {
    size_t n;
    int rc = 0;
    const struct gomalloc_holder *steps = records(c, GOMALLOC_SECTION_WHY_STEP, &n);
    if (!steps)
        n = 0;
    if (n > y->length || (n == 0 && y->length != 0))
        return damaged(c, "%zu steps of a chain of %llu", n, (unsigned long long)y->length);
    for (size_t i = 0; i < n && !rc; i++)
        rc = check_step(c, steps, i, n, y->length);
    return rc;
}

static int check_referrers(struct checker *c, const struct gomalloc_why *y) {
    size_t n;
    int rc = 0;
    uint64_t words = 0;
    const struct gomalloc_holder *all = records(c, GOMALLOC_SECTION_REFERRER, &n);
    for (size_t i = 0; all && i < n && !rc; i++) {
        words += all[i].number;
        rc = check_holder(c, &all[i], "referrer");
        if (!rc && (all[i].number == 0 || words > y->words))
            rc = damaged(c, "referrers: more words than there are");
    }
    return rc;
}

static int check_object(struct checker *c, const struct gomalloc_why *y) {
    unsigned long long at = y->asked;
    if (y->state > GOMALLOC_WHY_FREE || y->asked > INT64_MAX || y->head > INT64_MAX)
        return damaged(c, "why 0x%llx: senseless answer", at);
    if (y->address > INT64_MAX || y->size > IMAGE_MOST || y->requested > y->size ||
        (y->address && y->asked - y->address >= y->size))
        return damaged(c, "why 0x%llx: senseless object", at);
    if (y->state <= GOMALLOC_WHY_IGNORED && !y->address)
        return damaged(c, "why 0x%llx: no object", at);
    if (y->words > IMAGE_MOST || y->leaked_words > y->words || y->length > IMAGE_MOST)
        return damaged(c, "why 0x%llx: senseless figures", at);
    return image_knows_site(c, y->site) ? 0 : damaged(c, "why 0x%llx: no such site", at);
}

int image_check_why(struct checker *c) {
    size_t n, nsteps, nreferrers;
    const struct gomalloc_why *y = records(c, GOMALLOC_SECTION_WHY, &n);
    records(c, GOMALLOC_SECTION_WHY_STEP, &nsteps);
    records(c, GOMALLOC_SECTION_REFERRER, &nreferrers);
    if (n == 0 && nsteps == 0 && nreferrers == 0)
        return 0;
    if (n != 1)
        return damaged(c, "%zu answers why", n);
    int rc = check_object(c, y);
    if (!rc)
        rc = check_steps(c, y);
    return rc ? rc : check_referrers(c, y);
}
