/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening images that a maker holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "made_image.h"

static char err[256];

int made_image_open(struct maker *m, struct image **ret) {
    size_t size;
    unsigned char *bytes = maker_finish(m, &size);
    err[0] = '\0';
    int rc = image_open_memory(bytes, size, ret, err, sizeof err);
    free(bytes);
    return rc;
}

struct image *made_image_good(struct maker *m) {
    struct image *im = NULL;
    if (made_image_open(m, &im))
        fail_msg("%s", err);
    return im;
}

void made_image_refuse(struct maker *m, const char *name) {
    struct image *im = NULL;
    int rc = made_image_open(m, &im);
    if (rc != IMAGE_DAMAGED)
        fail_msg("%s: %d", name, rc);
    assert_int_not_equal(err[0], '\0');
    assert_null(strchr(err, '\n'));
    maker_free(m);
}

void made_image_refuse_all(const struct breakage *ways, size_t n, void (*begin)(struct maker *m)) {
    for (size_t i = 0; i < n; i++) {
        struct maker m;
        begin(&m);
        ways[i].make(&m);
        made_image_refuse(&m, ways[i].name);
    }
}
