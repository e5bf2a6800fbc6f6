/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The option --objects of the verbs that store snapshots.
 */
#ifndef GOINSPECT_OBJECTS_H
#define GOINSPECT_OBJECTS_H

#include <argp.h>

#include "db/db.h"
#include "base/usage.h"

#define OBJECTS_KEY 0x301
#define OBJECTS_OPTION                                                                             \
    {                                                                                              \
        "objects", OBJECTS_KEY, "WHICH", 0,                                                        \
            "store a row for each live object: recorded (default: those with a site), sample (of " \
            "these, 100,000 at most), leaked, all, none",                                          \
            1                                                                                      \
    }

static inline enum db_objects objects_parse(const char *arg, struct argp_state *state) {
    enum db_objects objects = DB_OBJECTS_RECORDED;
    if (!db_objects_named(arg, &objects))
        usage_error(state, "--objects: '%s' is none of recorded, sample, leaked, all and none",
                    arg);
    return objects;
}

#endif
