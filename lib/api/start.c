/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Start-up and exit.
 *
 * The phases: 1. the first allocation, which may come from the loader or from another library's
 * constructor: options are read, the heap is made, the recorder knows its rate but no stacks.
 * 2. our constructor: the unwinder is loaded (dlopen is legal there, and the program has not
 * begun), fork handlers and the agent's thread start.  3. main.  4. our destructor: the image of
 * exit=.
 */
#include "api/start.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/exit_report.h"
#include "agent/fatal.h"
#include "image/image_path.h"
#include "agent/leak_now.h"
#include "agent/trigger.h"
#include "api/crime.h"
#include "api/exec.h"
#include "api/fork.h"
#include "api/options.h"
#include "heap/malloc.h"
#include "prof/history.h"
#include "prof/prof.h"

/* 0: options not read yet.  The first allocation happens before there can be a second thread. */
static bool options_read;

struct mcache *start_thread(void) {
    if (!options_read && options_parse(false)) {
        options_read = true;
        malloc_tiny = options.tiny;
        mheap_.pages.huge = options.thp;
        if (options.rate == 1)
            prof_set_rate(1);
    }
    struct mcache *c = mcache_attach();
    if (gm_unlikely(options.trigger_fatal) && c != NULL && !mcache_ending)
        fatal_thread(c->owner.id);
    return c;
}

static void double_free_found(uintptr_t p) {
    crime_committed(CRIME_double_free, (const void *)p, "free by two threads");
}

/* children=off: our name is taken out of LD_PRELOAD where it stands, so that exec'd programs run
 * without us. */
static void disinherit(void) {
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        if (strncmp(*e, "LD_PRELOAD=", 11) != 0)
            continue;
        char *to = *e + 11;
        for (const char *s = to; *s != '\0';) {
            size_t n = strcspn(s, ": ");
            bool ours = memmem(s, n, "libgomalloc", 11) != NULL;
            size_t step = n + (s[n] != '\0');
            if (!ours) {
                memmove(to, s, step);
                to += step;
            }
            s += step;
        }
        *to = '\0';
    }
}

static bool has_triggers(void) {
    return options.trigger_rss != 0 || options.trigger_cgroup != 0 || options.trigger_fatal;
}

__attribute__((constructor(101))) static void start(void) {
    bool secure = getauxval(AT_SECURE) != 0;
    options_parse(true);
    if (mcache_self == &mcache0)
        start_thread();
    options_read = true;
    heap_double_free_found = double_free_found;
    if (!options.inherit)
        disinherit();
    prof_init(
        &(struct prof_options){.rate = options.rate,
                               .unwinder = options.unwinder[0] != '\0' ? options.unwinder : NULL,
                               .depth = options.depth,
                               .verify = options.verify,
                               .escape = options.escape,
                               .max_frames = options.frames});
    history_configure(options.interval_ns);
    fork_init();
    exec_init();
    bool triggers = !secure && has_triggers();
    if (options.exit_path[0] != '\0' || triggers)
        image_path_claim_root();
    if (triggers)
        trigger_configure(&(struct trigger_options){.rss = options.trigger_rss,
                                                    .cgroup = options.trigger_cgroup,
                                                    .fatal = options.trigger_fatal,
                                                    .keep = options.keep,
                                                    .path = options.snapshot_path});
    if (triggers && options.trigger_fatal) {
        fatal_install();
        fatal_thread(mcache_self->owner.id); /* this one has had its first allocation */
    }
    if (!secure)
        agent_init(&(struct agent_options){.on = options.agent, .control = options.control});
}

__attribute__((destructor(101))) static void stop(void) {
    struct leak_caller here = LEAK_CALLER_HERE;
    if (options.exit_path[0] != '\0')
        exit_image(options.exit_path, options.leaks ? &here : NULL);
    else if (options.leaks)
        leak_now_say(&here, true);
    agent_exit();
}
