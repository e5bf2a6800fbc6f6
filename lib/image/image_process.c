/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Section "process": who this is.  From /proc; what cannot be read there is 0 or empty.
 */
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "image/image_private.h"
#include "gomalloc/gomalloc.h"
#include "heap/mconst.h"
#include "prof/prof.h"

#define CMDLINE_MAX ((size_t)32 << 10) /* bytes of the arguments that are kept */

static uint64_t start_ns;  /* CLOCK_REALTIME when the library started */
static uint64_t forked_ns; /* CLOCK_REALTIME of the fork, 0 = none */

void image_note_start(void) {
    start_ns = raw_clock_ns(CLOCK_REALTIME);
}

void image_note_fork(void) {
    forked_ns = raw_clock_ns(CLOCK_REALTIME);
}

bool image_was_forked(void) {
    return forked_ns != 0;
}

uint32_t image_string(struct image_writer *w, const char *s, size_t n) {
    struct image_table *t = &w->table[GOMALLOC_SECTION_STRING];
    if (n == 0)
        return 0;
    if (t->len > UINT32_MAX - n - 1) {
        w->flags |= GOMALLOC_IMAGE_CUT;
        return 0;
    }
    char *to = image_table_room(t, n + 1);
    if (to == NULL) {
        image_fail(w, -ENOMEM);
        return 0;
    }
    memcpy(to, s, n);
    to[n] = '\0';
    uint32_t offset = (uint32_t)t->len;
    image_table_commit(t, n + 1);
    return offset;
}

/* field_of returns the number in field `number` (from 1) of /proc/PID/stat.  The second field is
 * the name in parentheses, which may itself hold spaces and parentheses. */
static uint64_t field_of(const char *stat, unsigned number) {
    const char *p = strrchr(stat, ')');
    for (unsigned i = 2; p != NULL && i < number; i++) {
        p = strchr(p, ' ');
        if (p != NULL)
            p++;
    }
    uint64_t v = 0;
    for (; p != NULL && *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    return v;
}

/* The first thread, by whose number /proc/self goes, may have ended. */
uint64_t image_resident(void) {
    char text[128];
    uint64_t pages = 0;
    if (raw_read_file("/proc/thread-self/statm", text, sizeof text) <= 0)
        return 0;
    const char *resident = strchr(text, ' ');
    while (resident != NULL && *++resident >= '0' && *resident <= '9')
        pages = pages * 10 + (uint64_t)(*resident - '0');
    return pages * PHYS_PAGE_SIZE;
}

static void read_stat(struct image_writer *w, struct gomalloc_process *r) {
    char *text = image_scratch(w);
    if (raw_read_file("/proc/self/stat", text, 4096) > 0) {
        r->nthreads = (uint32_t)field_of(text, 20);
        r->start_ticks = field_of(text, 22);
    }
    r->rss_bytes = image_resident();
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_boot_id(uint8_t id[16]) {
    char text[64];
    raw_read_file("/proc/sys/kernel/random/boot_id", text, sizeof text);
    unsigned n = 0;
    for (const char *p = text; *p != '\0' && n < 32; p++) {
        int digit = hex_digit(*p);
        if (digit >= 0) {
            id[n / 2] = (uint8_t)(id[n / 2] << 4 | digit);
            n++;
        }
    }
}

static uint32_t line_string(struct image_writer *w, const char *path) {
    char text[256];
    long n = raw_read_file(path, text, sizeof text);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    return n > 0 ? image_string(w, text, (size_t)n) : 0;
}

static uint32_t exe_string(struct image_writer *w) {
    char *path = image_scratch(w);
    long n = sys_call3(SYS_readlink, (long)"/proc/self/exe", (long)path, 8192);
    return n > 0 ? image_string(w, path, (size_t)n) : 0;
}

static uint32_t cmdline_string(struct image_writer *w) {
    char *text = image_scratch(w);
    long n = raw_read_file("/proc/self/cmdline", text, CMDLINE_MAX);
    while (n > 0 && text[n - 1] == '\0')
        n--;
    for (long i = 0; i < n; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    return n > 0 ? image_string(w, text, (size_t)n) : 0;
}

static uint32_t host_string(struct image_writer *w) {
    struct utsname name;
    if (sys_call3(SYS_uname, (long)&name, 0, 0) != 0)
        return 0;
    return image_string(w, name.nodename, strnlen(name.nodename, sizeof name.nodename));
}

static uint32_t text_string(struct image_writer *w, const char *s) {
    return s != NULL ? image_string(w, s, strlen(s)) : 0;
}

void image_gather_process(struct image_writer *w) {
    struct gomalloc_process r = {
        .pid = (uint32_t)raw_getpid(),
        .ppid = (uint32_t)sys_call3(SYS_getppid, 0, 0, 0),
        .uid = (uint32_t)sys_call3(SYS_geteuid, 0, 0, 0),
        .start_ns = start_ns,
        .forked_ns = forked_ns,
        .rate = prof_rate(),
        .exact_since_ns = prof_exact_since_ns(),
        .page_size = GM_PAGE_SIZE,
        .os_page_size = PHYS_PAGE_SIZE,
    };
    read_stat(w, &r);
    read_boot_id(r.boot_id);
    r.host_str = host_string(w);
    r.exe_str = exe_string(w);
    r.cmdline_str = cmdline_string(w);
    r.comm_str = line_string(w, "/proc/self/comm");
    r.version_str = text_string(w, GOMALLOC_VERSION);
    r.unwinder_str = text_string(w, prof_unwinder());
    struct gomalloc_process *to = image_add(w, GOMALLOC_SECTION_PROCESS, sizeof r);
    if (to != NULL)
        *to = r;
}
