/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The agent's socket protocol.
 *
 * Each process under the library listens on a Unix stream socket, DIR/PID.sock (mode 0600), where
 * DIR is $GOMALLOC_DIR, else $XDG_RUNTIME_DIR/gomalloc, else /tmp/gomalloc-UID (mode 0700, owned by
 * the user).  A client sends one struct gomalloc_request and gets one struct gomalloc_reply; a
 * reply to IMAGE or WHY carries a memfd with a heap image (gomalloc/image.h) as SCM_RIGHTS, or a
 * file without a name where there can be no memfd.  Any number of requests may follow each other on
 * one connection.  The peer must be the owner or root.
 */
#ifndef GOMALLOC_AGENT_H
#define GOMALLOC_AGENT_H

#include <stdint.h>

#define GOMALLOC_AGENT_MAGIC   0x474d5251u /* "GMRQ" read as a big-endian word */
#define GOMALLOC_AGENT_VERSION 1u

enum gomalloc_verb {
    GOMALLOC_VERB_PING = 1,     /* reply.value = current sampling rate */
    GOMALLOC_VERB_IMAGE = 2,    /* arg = mask of section bits (1 << id), 0 = all; reply has a fd */
    GOMALLOC_VERB_RATE = 3,     /* arg = new rate; changes something (needs control=on);
                                   reply.value = the old rate */
    GOMALLOC_VERB_SCAVENGE = 4, /* give free pages back; control; reply.value = bytes returned */
    GOMALLOC_VERB_START = 5,    /* rate = arg, or if 0 the rate before the last STOP, or the
                                   configured one; control; reply.value = the rate now in force */
    GOMALLOC_VERB_WHY = 6 /* who points to the object at arg; reply has a fd of an image with the
                             sections why, why_step, referrer and what they refer to */
};

/* With the sections of a leak check (gomalloc/image.h: leak, leak_check, root) in the mask of
 * IMAGE, and with the address of WHY, how it is made.  The usual way: a copy of the process;
 * addresses within an object keep it; words stand at multiples of 8; memory that the program has
 * mapped is a root. */
#define GOMALLOC_ASK_LEAK_IN_PLACE (UINT64_C(1) << 63) /* without a copy; control */
#define GOMALLOC_ASK_LEAK_FIRST_BYTES                                                              \
    (UINT64_C(1) << 62) /* only an object's own address keeps it */
#define GOMALLOC_ASK_LEAK_UNALIGNED  (UINT64_C(1) << 61)
#define GOMALLOC_ASK_LEAK_NOT_MAPPED (UINT64_C(1) << 60)
#define GOMALLOC_ASK_LEAK            (UINT64_C(15) << 60)

/* arg of SCAVENGE: also what threads keep, which are stopped for it for a moment; reply.message
 * says of how many.  A library that does not know of it goes without. */
#define GOMALLOC_SCAVENGE_THREADS UINT64_C(1)

enum gomalloc_status {
    GOMALLOC_OK = 0,
    GOMALLOC_BAD_REQUEST = 1,  /* unknown verb, wrong size or magic */
    GOMALLOC_BAD_VERSION = 2,  /* reply.version says which one is spoken */
    GOMALLOC_FORBIDDEN = 3,    /* control=off, or another user */
    GOMALLOC_NO_RESOURCES = 4, /* memory or descriptors ran out: reply.message says which */
    GOMALLOC_BUSY = 5          /* another request is being served: try again */
};

struct gomalloc_request {
    uint32_t magic;   /* GOMALLOC_AGENT_MAGIC */
    uint32_t version; /* GOMALLOC_AGENT_VERSION */
    uint32_t size;    /* sizeof(struct gomalloc_request) */
    uint32_t verb;    /* enum gomalloc_verb */
    uint64_t arg;
};

struct gomalloc_reply {
    uint32_t magic;
    uint32_t version;
    uint32_t size;   /* sizeof(struct gomalloc_reply) */
    uint32_t status; /* enum gomalloc_status */
    uint64_t value;
    char message[104]; /* for people, empty if OK */
};

#endif
