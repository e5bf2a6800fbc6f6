/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Snapshots that the process takes of itself.
 *
 * The agent's thread looks every LOOK_NS, if there is something to look at: resident set and what
 * is used of the limit are a few small files of the kernel, some microseconds.  Limits are looked
 * for anew every LIMIT_NS, as they may be set while the process runs.
 *
 * Where the thread shares the program's descriptor table, limits are not watched: a file that is
 * opened takes a number that the program may count on, once for a snapshot, but not five times a
 * second.
 *
 * No storm: two snapshots are at least GAP_NS apart.  After each the resident set counts from the
 * new level; the trigger of the limit waits until less is used by REARM_PERCENT.  A snapshot takes
 * memory itself, near the limit too, so its cost is said in gomalloc(7).
 *
 * A database is goinspect's work, as at the end of the process (exit_report.c): it is started, and
 * asked for now and then, so that the thread serves others meanwhile.
 */
#include "agent/trigger.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "agent/growth.h"
#include "agent/importer.h"
#include "agent/memory_limit.h"
#include "heap/mconst.h"
#include "image/agent_stats.h"
#include "image/image_private.h"
#include "image/image_write.h"
#include "image/rawfile.h"
#include "sys/mem.h"
#include "sys/throw.h"

#define SECOND_NS     UINT64_C(1000000000)
#define LOOK_NS       (SECOND_NS / 5)
#define GAP_NS        (5 * SECOND_NS)
#define LIMIT_NS      (10 * SECOND_NS)
#define IMPORT_NS     (600 * SECOND_NS)
#define REARM_PERCENT 5
#define DEFAULT_KEEP  10
#define NAME_BYTES    PATH_MAX
#define NTIMES        (2 * TRIGGER_MAX_KEEP) /* those that stay, and after failures a few more */
#define LIMIT_BYTES   align_up(sizeof(struct memory_limit), 4096)

static struct {
    struct trigger_options o;
    _Atomic uint64_t number; /* of the last snapshot; a crashing thread takes one, too */
    uint32_t time_s[NTIMES]; /* when the last ones were taken, by number */
    uint64_t removed;        /* of the last one that had to go */

    /* The rest is the agent's thread's. */
    uint64_t look_ns;           /* CLOCK_MONOTONIC: when to look next */
    uint64_t not_before_ns;     /* no snapshot before */
    struct memory_limit *limit; /* NULL: not needed, or no memory */
    uint64_t limit_ns;          /* when to look for it anew */
    bool above;                 /* the limit's share has been met, and not been left since */
    bool complained;            /* that a snapshot failed; the next one that does not clears it */
    bool importing;             /* goinspect is at work, or has been given up */
    uint64_t import_until_ns;   /* when it is given up */
    char image[NAME_BYTES];     /* that it imports */
    char database[NAME_BYTES];
} trigger;

void trigger_configure(const struct trigger_options *o) {
    trigger.o = *o;
    struct fmt f = fmt_on(trigger.database, sizeof trigger.database);
    image_path(&f, o->path, (struct image_path_values){.number = 1});
    bool database = image_path_is_database(&f);
    if (o->keep == TRIGGER_KEEP_UNSET)
        trigger.o.keep = database ? 0 : DEFAULT_KEEP; /* others' snapshots may be in there */
    if (database)
        importer_prepare(trigger.o.keep);
    growth_start(o->rss);
}

void trigger_fork_child(void) {
    atomic_store_explicit(&trigger.number, 0, memory_order_relaxed);
    trigger.removed = 0;
    trigger.look_ns = trigger.not_before_ns = trigger.limit_ns = 0;
    growth_start(trigger.o.rss);
    trigger.above = trigger.complained = trigger.importing = false;
    importer_fork_child();
}

/* ---- the file ----------------------------------------------------------------------------- */

static void path_of(struct fmt *f, uint64_t number) {
    image_path(
        f, trigger.o.path,
        (struct image_path_values){.number = number, .time_s = trigger.time_s[number % NTIMES]});
}

uint64_t trigger_next_path(struct fmt *f) {
    uint64_t n = atomic_fetch_add_explicit(&trigger.number, 1, memory_order_relaxed) + 1;
    trigger.time_s[n % NTIMES] = (uint32_t)(raw_clock_ns(CLOCK_REALTIME) / SECOND_NS);
    path_of(f, n);
    return n;
}

static void remove_old(uint64_t number, const char *now) {
    char old[NAME_BYTES];
    struct fmt f = fmt_on(old, sizeof old);
    path_of(&f, number);
    if (!f.cut && strcmp(now, old) != 0)
        raw_unlink(old);
}

/* More than one may have to go: nothing did after a snapshot that failed. */
void trigger_rotate(uint64_t number) {
    char now[NAME_BYTES];
    struct fmt f = fmt_on(now, sizeof now);
    if (trigger.o.keep == 0 || number <= trigger.o.keep)
        return;
    path_of(&f, number);
    uint64_t last = number - trigger.o.keep;
    if (trigger.removed + NTIMES <= number)
        trigger.removed = number - NTIMES; /* when those were taken is not known any more */
    while (!f.cut && trigger.removed < last)
        remove_old(++trigger.removed, now);
}

static void complain(const char *what, const char *detail) {
    char buf[2 * NAME_BYTES];
    struct fmt f = fmt_on(buf, sizeof buf - 1);
    agent_count(AGENT_TRIGGER_FAILED);
    if (trigger.complained)
        return;
    trigger.complained = true;
    report_begin(&f);
    fmt_str(&f, what);
    fmt_str(&f, detail);
    f.cap = sizeof buf;
    fmt_char(&f, '\n');
    report_end(&f);
}

/* write_image writes one with everything but a leak check. */
static bool write_image(const char *path) {
    char err[NAME_BYTES + 128];
    int error = image_write_file_of(path, ~UINT64_C(0), 0, err, sizeof err);
    if (error != 0)
        complain("no snapshot: ", err);
    return error == 0;
}

static void write_database(const struct fmt *path) {
    struct fmt f = fmt_on(trigger.image, sizeof trigger.image);
    fmt_mem(&f, path->buf, path->len);
    fmt_char(&f, '.');
    fmt_uint(&f, (uint64_t)raw_getpid());
    fmt_str(&f, ".gmi");
    memcpy(trigger.database, path->buf, path->len + 1);
    if (f.cut || !write_image(trigger.image))
        return;
    if (importer_start(trigger.image, trigger.database) == 0) {
        trigger.importing = true;
        trigger.import_until_ns = raw_clock_ns(CLOCK_MONOTONIC) + IMPORT_NS;
    } else
        complain("goinspect can't be run; by hand: goinspect import --remove ", trigger.image);
}

static void take(void) {
    char buf[NAME_BYTES];
    struct fmt path = fmt_on(buf, sizeof buf);
    uint64_t number = trigger_next_path(&path);
    if (path.cut)
        complain("no snapshot: the path is too long: ", trigger.o.path);
    else if (image_path_is_database(&path))
        write_database(&path);
    else if (write_image(path.buf)) {
        agent_count(AGENT_TRIGGERED);
        trigger.complained = false;
        trigger_rotate(number);
    }
}

/* ask_importer asks whether it is done. */
static void ask_importer(uint64_t now_ns) {
    struct stat st;
    if (!trigger.importing)
        return;
    bool ended = importer_has_ended(), done = raw_lstat(trigger.image, &st) == -ENOENT;
    if (!ended && now_ns < trigger.import_until_ns)
        return;
    trigger.importing = false;
    if (!done) {
        complain("goinspect could not import a snapshot; by hand: goinspect import --remove ",
                 trigger.image);
        return;
    }
    agent_count(AGENT_TRIGGERED);
    trigger.complained = false;
}

/* ---- when --------------------------------------------------------------------------------- */

static void find_limit(uint64_t now_ns) {
    if (now_ns < trigger.limit_ns)
        return;
    trigger.limit_ns = now_ns + LIMIT_NS;
    if (trigger.limit == NULL)
        trigger.limit = mem_alloc(LIMIT_BYTES, MEM_AGENT);
    if (trigger.limit == NULL)
        return;
    memory_limit_find(trigger.limit);
    if (trigger.limit->n == 0)
        agent_count(AGENT_TRIGGER_NO_LIMIT);
}

static bool is_near_limit(uint64_t now_ns) {
    if (trigger.o.cgroup == 0)
        return false;
    find_limit(now_ns);
    unsigned percent = trigger.limit != NULL ? memory_limit_percent(trigger.limit) : 0;
    if (percent + REARM_PERCENT < trigger.o.cgroup)
        trigger.above = false;
    return percent >= trigger.o.cgroup && !trigger.above;
}

/* forgo_limit says that the limit is not watched. */
static void forgo_limit(void) {
    trigger.o.cgroup = 0;
    complain(
        "trigger=cgroup% is off: this process's kernel or filter allows no thread descriptors ",
        "of its own (close_range)");
    trigger.complained = false;
}

uint64_t trigger_turn(uint64_t now_ns, bool own_table) {
    if (trigger.o.cgroup != 0 && !own_table)
        forgo_limit();
    if (trigger.o.rss == 0 && trigger.o.cgroup == 0)
        return UINT64_MAX;
    if (now_ns < trigger.look_ns)
        return trigger.look_ns;
    ask_importer(now_ns);
    bool grown = growth_measure(own_table), near = is_near_limit(now_ns);
    if ((grown || near) && now_ns >= trigger.not_before_ns && !trigger.importing) {
        trigger.above |= near;
        take();
        growth_restart(); /* from before it: it may have grown meanwhile */
        now_ns = raw_clock_ns(CLOCK_MONOTONIC);
        trigger.not_before_ns = now_ns + GAP_NS;
    }
    trigger.look_ns = now_ns + LOOK_NS;
    return trigger.look_ns;
}
