/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The option --objects of the verbs that store snapshots.
 */
#ifndef GOINSPECT_OBJECTS_H
#define GOINSPECT_OBJECTS_H

#include <argp.h>
#include <string.h>

#include "db.h"

#define OBJECTS_KEY 0x301
#define OBJECTS_OPTION                                                                             \
    {                                                                                              \
        "objects", OBJECTS_KEY, "WHICH", 0,                                                        \
            "store a row for each live object: recorded (default: those with a site), all, none",  \
            1                                                                                      \
    }

static inline enum db_objects objects_parse(const char *arg, struct argp_state *state) {
    if (strcmp(arg, "all") == 0)
        return DB_OBJECTS_ALL;
    if (strcmp(arg, "none") == 0)
        return DB_OBJECTS_NONE;
    if (strcmp(arg, "recorded") != 0)
        argp_error(state, "--objects: '%s' is none of recorded, all and none", arg);
    return DB_OBJECTS_RECORDED;
}

#endif
