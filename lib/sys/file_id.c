/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whether a descriptor is still the file that the library has opened.
 */
#include "sys/file_id.h"

#include <sys/stat.h>

#include "sys/rawcall.h"

struct file_id file_id_of(int fd) {
    struct stat st;
    if (fd < 0 || sys_call3(SYS_fstat, fd, (long)&st, 0) != 0)
        return (struct file_id){0, 0};
    return (struct file_id){st.st_dev, st.st_ino};
}

bool file_id_same(struct file_id a, struct file_id b) {
    return a.dev == b.dev && a.ino == b.ino && a.ino != 0;
}

void raw_close_own(int fd, struct file_id id) {
    if (file_id_same(id, file_id_of(fd)))
        sys_call3(SYS_close, fd, 0, 0);
}
