/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc says of a process that goinspect wants to ask.
 */
#ifndef GOINSPECT_PROC_H
#define GOINSPECT_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
    pid_t pid;    /* here */
    pid_t ns_pid; /* in its own, innermost pid namespace */
    uid_t uid;    /* real user */
    uid_t euid;   /* effective user */
    char state;   /* 'R', 'S', ..., 'Z' */
    char comm[64];
};

/* proc_read fills *ret; 0, -ESRCH if there is no such process, or another negative errno. */
int proc_read(pid_t pid, struct proc *ret);

/* proc_holder returns the process that holds a thread by ptrace, as debuggers do; 0: none does, or
 * the thread runs. */
pid_t proc_holder(pid_t tid);

/* proc_environ returns the value of a variable in the process's initial environment, to be freed;
 * NULL if it is not set or the environment may not be read. */
char *proc_environ(pid_t pid, const char *variable);

/* proc_has_library tells whether libgomalloc is mapped: 1 yes, 0 no, -1 it can't be seen. */
int proc_has_library(pid_t pid);

/* proc_age returns the seconds since the process was made; -1: not known. */
double proc_age(pid_t pid);

/* proc_is_called tells whether name is the process's comm, or the last part of its program's path
 * or of its argv[0]. */
bool proc_is_called(const struct proc *proc, const char *name);

/* proc_command writes the command line, arguments separated by spaces, cut to size. */
void proc_command(pid_t pid, char *buf, size_t size);

/* proc_each calls visit for every process until it returns false. */
void proc_each(bool (*visit)(const struct proc *proc, void *context), void *context);

#endif
