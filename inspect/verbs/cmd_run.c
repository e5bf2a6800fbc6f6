/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect run: a program under the library.
 *
 * It sets LD_PRELOAD and GOMALLOC, starts the program, hands signals on, and ends as the program
 * ended, so that it can stand in front of any command in a script.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "report/runleaks.h"
#include "base/savefile.h"
#include "report/suppress.h"
#include "base/usage.h"

struct own {
    const char *file;
    long long rate; /* valid if rate_given */
    bool rate_given;
    bool leaks;
    struct runleaks show; /* the leaks */
};

enum { OPT_LEAKS = 0x300, OPT_SUPPRESSIONS };

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "write the heap at the end: FILE.db (a snapshot more) or FILE.gmi",
     1},
    {"rate", 'r', "BYTES", 0,
     "mean distance of two samples; 1 = every allocation (default), 0 = off", 1},
    {"leaks", OPT_LEAKS, NULL, 0,
     "print what has leaked at the end; status 1 if there is something and COMMAND's is 0", 1},
    {"suppressions", OPT_SUPPRESSIONS, "FILE", 0, "with --leaks: leave out what is accepted", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    if (key == 'r') {
        own->rate = option_number(arg, "--rate", 0, state);
        own->rate_given = true;
    } else if (key == OPT_LEAKS) {
        own->leaks = true;
    } else if (key == OPT_SUPPRESSIONS) {
        if (!suppress_name(&own->show.suppressions, arg))
            usage_error(state, "at most %d --suppressions", SUPPRESS_FILES);
    } else if (!savefile_kind(arg))
        usage_error(state, "-o: '%s' ends neither in .db nor in .gmi", arg);
    else if (strchr(arg, ','))
        usage_error(state, "-o: '%s' has a comma, which separates the words of GOMALLOC", arg);
    else
        own->file = arg;
}

/* find_library returns the path of libgomalloc.so, to be freed: $GOMALLOC_LIB, else beside the
 * program, in the build tree or installed. */
static char *find_library(struct failure *failure) {
    static const char *const places[] = {"../lib/libgomalloc.so",
                                         "../lib/x86_64-linux-gnu/libgomalloc.so",
                                         "../lib64/libgomalloc.so", "libgomalloc.so"};
    char self[PATH_MAX], *slash;
    const char *given = getenv("GOMALLOC_LIB");
    if (given && given[0]) {
        char *path = realpath(given, NULL);
        if (!path)
            fail(failure, STATUS_FAILURE, "GOMALLOC_LIB: %s: %s", given, strerror(errno));
        return path;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n < 0 ? 0 : n] = '\0';
    if ((slash = strrchr(self, '/')))
        *slash = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        char *path = must_format("%s/%s", self, places[i]), *real = realpath(path, NULL);
        free(path);
        if (real)
            return real;
    }
    fail(failure, STATUS_FAILURE,
         "no libgomalloc.so in %s or ../lib beside it; set GOMALLOC_LIB to its path", self);
    return NULL;
}

/* set_preload puts the library before what LD_PRELOAD holds already. */
static enum status set_preload(struct failure *failure) {
    char *library = find_library(failure);
    const char *others = getenv("LD_PRELOAD");
    if (!library)
        return failure->status;
    if (strpbrk(library, " :")) { /* which separate the paths in LD_PRELOAD */
        fail(failure, STATUS_FAILURE, "%s: LD_PRELOAD can't take a path with a blank or a colon",
             library);
        free(library);
        return failure->status;
    }
    bool there = others && strstr(others, library);
    char *value = others && others[0] ? must_format("%s:%s", library, others) : must_dup(library);
    if (!there)
        setenv("LD_PRELOAD", value, 1);
    free(value);
    free(library);
    return STATUS_DONE;
}

/* has_key tells whether the list options (key=value,...) sets key. */
static bool has_key(const char *list, const char *key) {
    size_t n = strlen(key);
    const char *p = list;
    do {
        p += *p == ',';
        if (strncmp(p, key, n) == 0 && p[n] == '=')
            return true;
        p = strchr(p, ',');
    } while (p);
    return false;
}

static void append(char **list, const char *key, const char *value) {
    char *longer = must_format("%s%s%s=%s", *list, (*list)[0] ? "," : "", key, value);
    free(*list);
    *list = longer;
}

/* absolute returns path from the root: the program may change its directory. */
static char *absolute(const char *path) {
    char here[PATH_MAX];
    if (path[0] == '/' || !getcwd(here, sizeof(here)))
        return must_dup(path);
    return must_format("%s/%s", here, path);
}

/* set_options extends GOMALLOC; what the user has set there stays, what the command line says
 * comes after it and counts. */
static enum status set_options(const struct own *own, struct failure *failure) {
    const char *given = getenv("GOMALLOC");
    char *list = must_dup(given ? given : ""), rate[24];
    snprintf(rate, sizeof(rate), "%lld", own->rate_given ? own->rate : 1);
    if (own->rate_given || !has_key(list, "rate"))
        append(&list, "rate", rate);
    if (own->file) {
        char *path = absolute(own->file);
        bool comma = strchr(path, ',') != NULL;
        append(&list, "exit", path);
        if (own->leaks)
            append(&list, "leaks", "on");
        free(path);
        if (comma) {
            free(list);
            return fail(failure, STATUS_USAGE,
                        "-o: the path of this directory has a comma, which separates the words of "
                        "GOMALLOC; name a file elsewhere");
        }
    }
    setenv("GOMALLOC", list, 1);
    unsetenv("GOMALLOC_ROOT"); /* this program is nobody's descendant: gomalloc(7), exit */
    free(list);
    return STATUS_DONE;
}

static volatile sig_atomic_t child;

static void hand_on(int signal_number) {
    if (child > 0)
        kill((pid_t)child, signal_number);
}

static void catch_signals(void) {
    /* those from a terminal reach the program anyway; it decides what they mean */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, forward = {.sa_handler = hand_on};
    forward.sa_flags = SA_RESTART;
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGQUIT, &ignore, NULL);
    sigaction(SIGTERM, &forward, NULL);
    sigaction(SIGHUP, &forward, NULL);
    sigaction(SIGUSR1, &forward, NULL);
    sigaction(SIGUSR2, &forward, NULL);
}

/* start runs argv in a child; *ret_error is the errno of an exec that failed. */
static pid_t start(char **argv, int *ret_error) {
    int report[2];
    *ret_error = 0;
    if (pipe2(report, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], argv);
        int error = errno;
        ssize_t n = write(report[1], &error, sizeof(error));
        _exit(n == sizeof(error) ? 127 : 126);
    }
    close(report[1]);
    child = pid;
    catch_signals();
    if (pid > 0) {
        ssize_t n;
        do
            n = read(report[0], ret_error, sizeof(*ret_error));
        while (n < 0 && errno == EINTR);
    }
    close(report[0]);
    return pid;
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* report says where the heap went, or why it is not there. */
static void report_file(const struct own *own, const char *program, const struct stat *before) {
    struct stat after;
    if (!own->file || strchr(own->file, '%'))
        return;
    if (stat(own->file, &after) == 0 && !same_file(&after, before))
        say("%s is written; next: goinspect sites %s", own->file, own->file);
    else
        say("%s was not written: %s may be statically linked or setuid, or have ended by a signal "
            "or exec",
            own->file, program);
}

static int wait_for_child(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 126;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* run_and_wait runs the program, *ret_ran: it has run. */
static enum status run_and_wait(struct command_line *line, pid_t *ret_pid, bool *ret_ran) {
    const struct own *own = line->own;
    struct failure failure = {.status = STATUS_DONE};
    struct stat before = {.st_ino = 0};
    int error;
    *ret_ran = false;
    if (set_preload(&failure) != STATUS_DONE || set_options(own, &failure) != STATUS_DONE)
        return say_failure(&failure);
    if (own->file && stat(own->file, &before) != 0)
        memset(&before, 0, sizeof(before));
    fflush(NULL);
    pid_t pid = *ret_pid = start(line->words, &error);
    if (pid < 0) {
        say("cannot start %s: %s", line->words[0], strerror(errno));
        return STATUS_FAILURE;
    }
    int status = wait_for_child(pid);
    if (error) {
        say("cannot run %s: %s", line->words[0], strerror(error));
        return (enum status)(error == ENOENT ? 127 : 126);
    }
    if (!own->show.directory)
        report_file(own, line->words[0], &before);
    *ret_ran = true;
    return (enum status)status;
}

/* check_suppressions finds out before the program runs that they can't be read. */
static enum status check_suppressions(const struct suppress_files *files, struct failure *failure) {
    struct suppressions accepted;
    enum status status = suppress_read(files, &accepted, failure);
    suppress_free(&accepted);
    return status;
}

/* run_with_leaks is run_and_wait with the leaks behind.  The program's own failure is what counts:
 * who runs tests wants to know of that first. */
static enum status run_with_leaks(struct command_line *line) {
    struct own *own = line->own;
    struct failure failure = {.status = STATUS_DONE};
    bool ran;
    pid_t pid;
    if (check_suppressions(&own->show.suppressions, &failure) != STATUS_DONE)
        return say_failure(&failure);
    char *file = own->file ? absolute(own->file) : NULL;
    if (runleaks_begin(&own->show, &file, &failure) != STATUS_DONE)
        return say_failure(&failure);
    if (!own->file)
        own->file = file;
    enum status status = run_and_wait(line, &pid, &ran);
    if (ran) {
        enum status leaks = runleaks_show(&own->show, file, pid, line->words[0]);
        status = status != STATUS_DONE ? status : leaks;
    }
    runleaks_end(&own->show);
    own->file = NULL;
    free(file);
    return status;
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    pid_t pid;
    bool ran;
    if (own->leaks && own->file && strchr(own->file, '%')) {
        say("--leaks has to find the file again: -o without %%");
        return STATUS_USAGE;
    }
    if (!own->leaks && own->show.suppressions.n) {
        say("--suppressions is for --leaks");
        return STATUS_USAGE;
    }
    return own->leaks ? run_with_leaks(line) : run_and_wait(line, &pid, &ran);
}

const struct command command_verb_run = {
    .name = "run",
    .usage = "[--] COMMAND [ARGUMENT...]",
    .summary = "a program under the library; ends as the program ends",
    .details = "Records every allocation unless --rate, or rate= in GOMALLOC, says otherwise.\n"
               "The exit status is COMMAND's, 128 + N if signal N ended it, 127 if there is\n"
               "no such command; with --leaks 1 or 2 instead of 0, if something has leaked or\n"
               "that can't be told.",
    .examples = "  goinspect run -- redis-server --port 0\n"
                "  goinspect run --leaks --suppressions known.txt -- ./test-suite\n"
                "  goinspect run -o heap.db -- ./test-suite\n",
    .takes = TAKES_COMMAND,
    .min_words = 1,
    .max_words = (size_t)-1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .run = run,
};
