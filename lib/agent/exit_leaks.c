/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An image with a leak check at the program's end.
 */
#include "agent/exit_leaks.h"

#include <errno.h>
#include <unistd.h>

#include "image/image_write.h"
#include "gomalloc/image.h"
#include "sys/fmt.h"
#include "sys/throw.h"

#define BIT(id) (UINT64_C(1) << GOMALLOC_SECTION_##id)

/* All but the answer to who points where. */
#define SECTIONS (~(BIT(WHY) | BIT(WHY_STEP) | BIT(REFERRER)))

struct job {
    struct image_writer *writer;
    int fd;
    char *err;
    size_t errlen;
    int error;
};

/* write_checked is done while the threads stand still. */
static int write_checked(void *arg, const struct leak_findings *f, int to) {
    struct job *j = arg;
    (void)to;
    j->error = image_finish(j->writer, j->fd, f, j->err, j->errlen);
    return 0;
}

static void complain(const char *why) {
    char buf[256];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, "no leak check at exit: ");
    fmt_str(&f, why);
    fmt_char(&f, '\n');
    fmt_write(&f, STDERR_FILENO);
}

int exit_leaks_write(void *arg, int fd, char *err, size_t errlen) {
    struct job j = {.writer = image_open(SECTIONS, GOMALLOC_IMAGE_EXIT),
                    .fd = fd,
                    .err = err,
                    .errlen = errlen};
    if (j.writer == NULL)
        return -ENOMEM;
    const struct leak_report report = {.run = write_checked, .arg = &j, .keep = -1};
    char why[128];
    int result;
    if (leak_now(arg, &report, &result, why, sizeof why) != 0) {
        complain(why);
        j.error = image_finish(j.writer, fd, NULL, err, errlen);
    }
    image_free(j.writer);
    return j.error;
}
