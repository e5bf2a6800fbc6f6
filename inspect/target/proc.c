/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc says of a process that goinspect wants to ask.
 *
 * Every read may meet a process that ends meanwhile or belongs to somebody else: then the answer is
 * "not known", never a message.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "target/proc.h"
#include "base/say.h"

#define MOST_BYTES (4 << 20) /* of an environment or a list of mappings; Linux allows 6 MiB */

/* read_file returns the contents of /proc/PID/NAME, terminated, to be freed; NULL with errno. */
static char *read_file(pid_t pid, const char *name, size_t *ret_size) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t size = 0, room = 4096;
    char *buf = must_calloc(room, 1);
    for (;;) {
        ssize_t n = read(fd, buf + size, room - size - 1);
        if (n <= 0)
            break;
        size += (size_t)n;
        if (size + 1 == room && room < MOST_BYTES)
            buf = must_realloc(buf, room *= 2, 1);
        else if (size + 1 == room)
            break;
    }
    close(fd);
    buf[size] = '\0';
    if (ret_size)
        *ret_size = size;
    return buf;
}

/* last_number returns the last of the numbers on a line. */
static long last_number(const char *line) {
    long last = 0;
    for (char *end; *line && *line != '\n'; line = end) {
        long n = strtol(line, &end, 10);
        if (end == line)
            break;
        last = n;
        while (*end == '\t' || *end == ' ')
            end++;
    }
    return last;
}

static void parse_status(const char *text, struct proc *ret) {
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        unsigned uid, euid;
        line += *line == '\n';
        if (strncmp(line, "Name:\t", 6) == 0)
            snprintf(ret->comm, sizeof(ret->comm), "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
        else if (strncmp(line, "State:\t", 7) == 0)
            ret->state = line[7];
        else if (sscanf(line, "Uid:\t%u\t%u", &uid, &euid) == 2) {
            ret->uid = uid;
            ret->euid = euid;
        } else if (strncmp(line, "NSpid:", 6) == 0)
            ret->ns_pid = (pid_t)last_number(line + 6);
    }
}

int proc_read(pid_t pid, struct proc *ret) {
    char *text = read_file(pid, "status", NULL);
    if (!text)
        return errno == ENOENT ? -ESRCH : -errno;
    *ret = (struct proc){.pid = pid, .ns_pid = pid, .uid = (uid_t)-1, .euid = (uid_t)-1};
    parse_status(text, ret);
    bool empty = !text[0];
    free(text);
    return empty ? -ESRCH : 0;
}

pid_t proc_holder(pid_t tid) {
    char *text = read_file(tid, "status", NULL);
    const char *state = text ? strstr(text, "\nState:\tt") : NULL;
    const char *tracer = state ? strstr(state, "\nTracerPid:") : NULL;
    pid_t holder = tracer ? (pid_t)last_number(tracer + strlen("\nTracerPid:")) : 0;
    free(text);
    return holder;
}

char *proc_environ(pid_t pid, const char *variable) {
    size_t size, n = strlen(variable);
    char *text = read_file(pid, "environ", &size), *value = NULL;
    for (size_t i = 0; text && i < size && !value; i += strlen(text + i) + 1)
        if (strncmp(text + i, variable, n) == 0 && text[i + n] == '=')
            value = must_dup(text + i + n + 1);
    free(text);
    return value;
}

int proc_has_library(pid_t pid) {
    size_t size;
    char *text = read_file(pid, "maps", &size);
    if (!text)
        return -1;
    int has = strstr(text, "/libgomalloc.so") != NULL;
    free(text);
    return has;
}

/* The file has "123 (name) S ...": when the process was made, in ticks since the system began, is
 * the 20th field from the state on. */
double proc_age(pid_t pid) {
    char *text = read_file(pid, "stat", NULL), *p = text ? strrchr(text, ')') : NULL;
    struct timespec now;
    for (int i = 0; p && i < 20; i++)
        p = strchr(p + 1, ' ');
    double ticks = p ? strtod(p, NULL) : -1;
    free(text);
    if (ticks < 0 || clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return -1;
    double age =
        (double)now.tv_sec + (double)now.tv_nsec / 1e9 - ticks / (double)sysconf(_SC_CLK_TCK);
    return age > 0 ? age : 0;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool proc_is_called(const struct proc *proc, const char *name) {
    char link[64], exe[4096];
    if (strcmp(proc->comm, name) == 0)
        return true;
    snprintf(link, sizeof(link), "/proc/%d/exe", (int)proc->pid);
    ssize_t n = readlink(link, exe, sizeof(exe) - 1);
    exe[n < 0 ? 0 : n] = '\0';
    if (strcmp(last_part(exe), name) == 0)
        return true;
    char *argv0 = read_file(proc->pid, "cmdline", NULL);
    bool same = argv0 && strcmp(last_part(argv0), name) == 0;
    free(argv0);
    return same;
}

void proc_command(pid_t pid, char *buf, size_t size) {
    size_t n = 0;
    char *text = read_file(pid, "cmdline", &n);
    for (size_t i = 0; text && i + 1 < n; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    snprintf(buf, size, "%s", text ? text : "");
    for (n = strlen(buf); n && buf[n - 1] == ' ';) /* who sets its title pads it */
        buf[--n] = '\0';
    free(text);
}

void proc_each(bool (*visit)(const struct proc *proc, void *context), void *context) {
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    bool more = true;
    for (struct dirent *entry; more && (entry = readdir(dir));) {
        struct proc proc;
        if (isdigit((unsigned char)entry->d_name[0]) &&
            proc_read((pid_t)strtol(entry->d_name, NULL, 10), &proc) == 0)
            more = visit(&proc, context);
    }
    closedir(dir);
}
