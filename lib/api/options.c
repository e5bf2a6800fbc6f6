/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The environment variable GOMALLOC.
 *
 * It is read at the first allocation, which may come before any constructor, so nothing here
 * allocates or takes a lock.
 */
#include "api/options.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "agent/trigger.h"
#include "prof/history.h"
#include "prof/prof.h"
#include "sys/throw.h"

struct options options = {
    .rate = PROF_DEFAULT_RATE,
    .on_error = ON_ERROR_ABORT,
    .agent = true,
    .control = true,
    .inherit = true,
    .depth = PROF_DEFAULT_DEPTH,
    .interval_ns = HISTORY_INTERVAL_NS,
    .frames = PROF_DEFAULT_FRAMES,
    .escape = ESCAPE_ON,
    .snapshot_path = "gomalloc-%p-%n.gmi",
    .keep = TRIGGER_KEEP_UNSET,
};

/* A piece of the variable's value. */
struct word {
    const char *s;
    size_t n;
};

static bool is(struct word w, const char *s) {
    return strlen(s) == w.n && memcmp(s, w.s, w.n) == 0;
}

static bool set_bool(struct word v, bool *ret) {
    *ret = is(v, "on");
    return *ret || is(v, "off");
}

static bool set_text(struct word v, char *buf, size_t cap) {
    if (v.n == 0 || v.n >= cap)
        return false;
    memcpy(buf, v.s, v.n);
    buf[v.n] = '\0';
    return true;
}

static bool set_rate(struct word v) {
    return parse_uint(v.s, v.n, &options.rate);
}

static bool set_exit(struct word v) {
    return set_text(v, options.exit_path, sizeof options.exit_path);
}

static bool begins(struct word w, const char *s) {
    return w.n > strlen(s) && memcmp(w.s, s, strlen(s)) == 0;
}

static bool set_trigger_rss(struct word v) {
    return parse_uint(v.s, v.n, &options.trigger_rss) && options.trigger_rss != 0 &&
           options.trigger_rss < UINT64_C(1) << 60;
}

static bool set_trigger_cgroup(struct word v) {
    uint64_t n;
    if (v.n < 2 || v.s[v.n - 1] != '%' || !parse_uint(v.s, v.n - 1, &n) || n == 0 || n > 100)
        return false;
    options.trigger_cgroup = (uint32_t)n;
    return true;
}

/* It may be given several times. */
static bool set_trigger(struct word v) {
    if (begins(v, "rss+"))
        return set_trigger_rss((struct word){v.s + 4, v.n - 4});
    if (begins(v, "cgroup"))
        return set_trigger_cgroup((struct word){v.s + 6, v.n - 6});
    options.trigger_fatal |= is(v, "fatal");
    return is(v, "fatal");
}

static bool set_snapshot(struct word v) {
    return set_text(v, options.snapshot_path, sizeof options.snapshot_path);
}

static bool set_keep(struct word v) {
    uint64_t n;
    if (!parse_uint(v.s, v.n, &n) || n > TRIGGER_MAX_KEEP)
        return false;
    options.keep = (uint32_t)n;
    return true;
}

static bool set_on_error(struct word v) {
    options.on_error = is(v, "report") ? ON_ERROR_REPORT : ON_ERROR_ABORT;
    return is(v, "report") || is(v, "abort");
}

static bool set_unwinder(struct word v) {
    return set_text(v, options.unwinder, sizeof options.unwinder) &&
           prof_unwinder_known(options.unwinder);
}

static bool set_depth(struct word v) {
    uint64_t n;
    if (!parse_uint(v.s, v.n, &n) || n == 0 || n > PROF_MAX_DEPTH)
        return false;
    options.depth = (unsigned)n;
    return true;
}

static bool set_verify(struct word v) {
    uint64_t n;
    if (!parse_uint(v.s, v.n, &n) || n > UINT32_MAX)
        return false;
    options.verify = (uint32_t)n;
    return true;
}

static bool set_frames(struct word v) {
    uint64_t n;
    if (!parse_uint(v.s, v.n, &n) || n == 0 || n > PROF_MAX_FRAMES)
        return false;
    options.frames = (uint32_t)n;
    return true;
}

#define MAX_INTERVAL_S UINT64_C(100000000)

/* A number of seconds, minutes (m) or hours (h). */
static bool set_interval(struct word v) {
    uint64_t n, seconds = 1;
    char unit = v.n != 0 ? v.s[v.n - 1] : '\0';
    if (unit == 's' || unit == 'm' || unit == 'h')
        v.n--;
    if (unit == 'm' || unit == 'h')
        seconds = unit == 'm' ? 60 : 3600;
    if (v.n == 0 || v.n > 9 || v.s[v.n - 1] > '9' || !parse_uint(v.s, v.n, &n) ||
        n * seconds > MAX_INTERVAL_S)
        return false;
    options.interval_ns = n * seconds * UINT64_C(1000000000);
    return true;
}

static bool set_escape(struct word v) {
    options.escape = is(v, "off") ? ESCAPE_OFF : is(v, "all") ? ESCAPE_ALL : ESCAPE_ON;
    return is(v, "off") || is(v, "on") || is(v, "all");
}

static bool set_agent(struct word v) {
    return set_bool(v, &options.agent);
}
static bool set_control(struct word v) {
    return set_bool(v, &options.control);
}
static bool set_tiny(struct word v) {
    return set_bool(v, &options.tiny);
}

static bool set_leaks(struct word v) {
    return set_bool(v, &options.leaks);
}

static bool set_thp(struct word v) {
    return set_bool(v, &options.thp);
}

static bool set_children(struct word v) {
    options.inherit = is(v, "inherit");
    return options.inherit || is(v, "off");
}

static const struct option {
    const char *key;
    bool (*set)(struct word value);
    const char *values; /* for the message */
} table[] = {
    {"rate", set_rate, "a number of bytes, 1 for every allocation, 0 for off"},
    {"exit", set_exit, "a path"},
    {"leaks", set_leaks, "on or off"},
    {"trigger", set_trigger, "rss+SIZE such as rss+256M, cgroupN% such as cgroup90%, or fatal"},
    {"snapshot", set_snapshot, "a path"},
    {"keep", set_keep, "a number of snapshots up to 1000, 0 for all"},
    {"on_error", set_on_error, "abort or report"},
    {"unwinder", set_unwinder, "replay, libunwind or none"},
    {"stack", set_depth, "a number of frames up to 512"},
    {"verify", set_verify, "a number of captures, 0 for off"},
    {"frames", set_frames, "a number of frames up to 16000000"},
    {"interval", set_interval, "a time such as 30s, 5m or 1h, 0 for off"},
    {"escape", set_escape, "off, on or all"},
    {"agent", set_agent, "on or off"},
    {"control", set_control, "on or off"},
    {"children", set_children, "inherit or off"},
    {"tiny", set_tiny, "on or off"},
    {"thp", set_thp, "on or off"},
};

static void complain(struct word w, const char *what, const char *values) {
    char buf[512];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, "GOMALLOC: ");
    fmt_mem(&f, w.s, w.n < 100 ? w.n : 100);
    fmt_str(&f, what);
    fmt_str(&f, values);
    fmt_str(&f, "; ignored, see gomalloc(7)\n");
    fmt_write(&f, 2);
}

static void parse_one(struct word item, bool talk) {
    const char *eq = memchr(item.s, '=', item.n);
    struct word key = {item.s, eq != NULL ? (size_t)(eq - item.s) : item.n};
    struct word value = {eq != NULL ? eq + 1 : item.s + item.n,
                         eq != NULL ? item.n - key.n - 1 : 0};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (is(key, table[i].key)) {
            struct options before = options;
            if (!table[i].set(value)) {
                options = before;
                if (talk)
                    complain(item, ": the value must be ", table[i].values);
            }
            return;
        }
    if (talk)
        complain(key, ": unknown key", "");
}

static const char *variable(void) {
    for (char **e = environ; *e != NULL; e++)
        if (strncmp(*e, "GOMALLOC=", 9) == 0)
            return *e + 9;
    return "";
}

bool options_parse(bool talk) {
    if (getauxval(AT_SECURE) != 0)
        return true;
    if (environ == NULL)
        return false;
    const char *s = variable();
    while (*s != '\0') {
        size_t n = strcspn(s, ",");
        if (n != 0)
            parse_one((struct word){s, n}, talk);
        s += n + (s[n] == ',');
    }
    return true;
}
