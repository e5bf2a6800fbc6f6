/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The image of a process that ends.
 *
 * An image is written here; a database is goinspect's work, as the program must not load SQLite: it
 * gets the image beside the database and a goinspect to import it.  If that cannot be, the image
 * stays, and a line says how to import it by hand.
 */
#include "agent/exit_report.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/exit_leaks.h"
#include "image/image_path.h"
#include "image/image_write.h"
#include "agent/importer.h"
#include "image/rawfile.h"
#include "gomalloc/image.h"
#include "sys/throw.h"

/* ---- goinspect ---------------------------------------------------------------------------- */

/* without_us copies the environment but for what would put the importer under us. */
static char **without_us(void) {
    static const char *const names[] = {"LD_PRELOAD=", "GOMALLOC=", IMAGE_PATH_ROOT "="};
    size_t n = 0;
    while (environ != NULL && environ[n] != NULL)
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    if (copy == NULL)
        return NULL;
    char **to = copy;
    for (size_t i = 0; i < n; i++) {
        bool ours = false;
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            ours |= strncmp(environ[i], names[k], strlen(names[k])) == 0;
        if (!ours)
            *to++ = environ[i];
    }
    return copy;
}

/* keep_standard sees to it that 0, 1 and 2 are open in the importer: a program may have closed its
 * own (coreutils do at exit), and a database must not get such a number. */
static void keep_standard(posix_spawn_file_actions_t *actions) {
    for (int fd = 0; fd < 3; fd++)
        if (sys_call3(SYS_fcntl, fd, F_GETFD, 0) < 0)
            posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
}

static int spawn(pid_t *pid, const char *program, char **argv, char **env) {
    posix_spawn_file_actions_t actions;
    if (env == NULL || posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    keep_standard(&actions);
    int error = posix_spawnp(pid, program, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* run_import runs it and waits.  False: it did not do it. */
static bool run_import(char *image, char *database) {
    char buf[PATH_MAX];
    struct fmt f = fmt_on(buf, sizeof buf);
    const char *program = importer_find(&f);
    char *argv[] = {(char *)(uintptr_t)program, "import", "--remove", image, database, NULL};
    char **env = without_us();
    pid_t pid;
    int error = spawn(&pid, program, argv, env);
    free(env);
    if (error != 0)
        return false;
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    /* A program that ignores SIGCHLD, or waits for any child in another thread, has no status for
     * us.  What counts is whether the image has been taken. */
    return access(image, F_OK) != 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void complain(const char *what, const char *detail) {
    char buf[2 * PATH_MAX];
    struct fmt f = fmt_on(buf, sizeof buf - 1);
    report_begin(&f);
    fmt_str(&f, what);
    fmt_str(&f, detail);
    f.cap = sizeof buf;
    fmt_char(&f, '\n');
    fmt_write(&f, STDERR_FILENO);
}

/* caller: from where leaks are to be looked for; NULL: they are not. */
static int write_image(const char *path, struct leak_caller *caller) {
    char err[PATH_MAX + 128];
    int error = caller != NULL
                    ? image_write_file_by(path, exit_leaks_write, caller, err, sizeof err)
                    : image_write_file(path, GOMALLOC_IMAGE_EXIT, err, sizeof err);
    if (error != 0)
        complain("no image at exit: ", err);
    return error;
}

static int write_database(struct fmt *path, struct leak_caller *caller) {
    char image[PATH_MAX];
    struct fmt f = fmt_on(image, sizeof image);
    fmt_mem(&f, path->buf, path->len);
    fmt_char(&f, '.');
    fmt_uint(&f, (uint64_t)raw_getpid());
    fmt_str(&f, ".gmi");
    int error = write_image(image, caller);
    if (error != 0 || run_import(image, path->buf))
        return error;
    char line[2 * PATH_MAX];
    f = fmt_on(line, sizeof line);
    fmt_str(&f, image);
    fmt_char(&f, ' ');
    fmt_str(&f, path->buf);
    complain("goinspect could not import the image at exit; by hand: goinspect import --remove ",
             line);
    return -EIO;
}

int exit_image(const char *template, struct leak_caller *caller) {
    char buf[PATH_MAX];
    struct fmt path = fmt_on(buf, sizeof buf);
    image_path(&path, template,
               (struct image_path_values){.time_s = raw_clock_ns(CLOCK_REALTIME) / 1000000000u});
    bool database = image_path_is_database(&path);
    if (path.cut) {
        complain("no image at exit: the path is too long: ", template);
        return -ENAMETOOLONG;
    }
    return database ? write_database(&path, caller) : write_image(path.buf, caller);
}
