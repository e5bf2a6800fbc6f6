/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The environment variable GOMALLOC: key=value,key=value.  gomalloc(7) lists the keys.
 */
#ifndef GM_API_OPTIONS_H
#define GM_API_OPTIONS_H

#include "sys/compiler.h"

enum on_error { ON_ERROR_ABORT, ON_ERROR_REPORT };

struct options {
    uint64_t rate;          /* bytes between samples */
    enum on_error on_error; /* what follows a crime */
    unsigned depth;         /* frames kept of a stack */
    uint64_t interval_ns;   /* between two ticks of the history, 0: none */
    uint32_t verify;        /* every so many-th capture is verified, 0: none */
    uint32_t frames;        /* the stack table's bound */
    uint32_t escape;        /* enum escape_mode */
    bool agent;             /* answer goinspect */
    bool control;           /* accept verbs that change something */
    bool inherit;           /* leave the preload to exec'd children */
    bool tiny;              /* malloc may combine tiny objects */
    bool thp;               /* the heap is backed by huge pages */
    bool leaks;             /* the end of the program begins with a leak check */
    char unwinder[16];
    char exit_path[512];     /* empty: no image at exit */
    uint64_t trigger_rss;    /* bytes, 0: none */
    uint32_t trigger_cgroup; /* percent, 0: none */
    bool trigger_fatal;      /* a snapshot at a fatal signal */
    uint32_t keep;           /* snapshots of triggers, 0: all */
    char snapshot_path[512]; /* their template */
};
extern struct options options;

/* options_parse reads GOMALLOC into `options`; problems are told on stderr only if `talk`.  False:
 * there is no environment yet, too early in the loader.  Does nothing in a set-user-id program. */
bool options_parse(bool talk);

#endif
