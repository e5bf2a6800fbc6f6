/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Section "crash": the signal that ends the program, and where it came.
 */
#ifndef GM_IMAGE_CRASH_H
#define GM_IMAGE_CRASH_H

#include <signal.h>

#include "unwind/walk.h"

struct image_writer;

struct image_crash {
    int signal;
    int code; /* si_code */
    uint32_t tid;
    int sender;       /* pid of who sent the signal, 0: nobody did */
    uint64_t address; /* that the signal is about, 0: none */
    uint64_t pc, sp;
    char comm[16];    /* of the thread */
    struct walk walk; /* at the place where it came */
    uint32_t frame;   /* by image_crash_stack: node of the stack table, 0: not known */
    bool stopped;     /* outer frames are missing */
};

/* The sections that are read the least from. */
#define IMAGE_CRASH_BASIC                                                                          \
    (UINT64_C(1) << GOMALLOC_SECTION_SPAN | UINT64_C(1) << GOMALLOC_SECTION_SLOT |                 \
     UINT64_C(1) << GOMALLOC_SECTION_MAPPING | UINT64_C(1) << GOMALLOC_SECTION_SIZE_CLASS |        \
     UINT64_C(1) << GOMALLOC_SECTION_CRASH)

/* image_crash_init makes walking stacks ready: in the constructor; calls dlsym. */
void image_crash_init(void);

/* image_crash_of_signal takes down what a handler is told, image_crash_here the calling place. */
void image_crash_of_signal(struct image_crash *c, int sig, const siginfo_t *info,
                           const void *context);
void image_crash_here(struct image_crash *c, int sig);

/* image_crash_stack finds the thread's stack and puts it into the stack table: in a copy of the
 * process. */
void image_crash_stack(struct image_crash *c);

/* image_finish_crash is image_finish, with the section. */
int image_finish_crash(struct image_writer *w, int fd, const struct image_crash *c, char *err,
                       size_t errlen);

void image_gather_crash(struct image_writer *w);

#endif
