/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect VERB TARGET [OPTION...]: picks the verb, runs it, and notices when what was written
 * did not arrive.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "gomalloc/gomalloc.h"
#include "base/say.h"

static const struct command *choose(const char *name) {
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "-?") == 0)
        name = "help";
    const struct command *command = command_find(name);
    if (command)
        return command;
    exit((int)command_unknown(name));
}

/* close_output runs at exit, also after --help.  A reader that has gone away is not worth a word.
 */
static void close_output(void) {
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fclose(stdout) == 0 && !failed)
        return;
    errno = say_output_error() ? say_output_error() : errno;
    if (errno != EPIPE)
        fprintf(stderr, "goinspect: cannot write to standard output: %s\n",
                strerror(errno ? errno : EIO));
    _exit(STATUS_FAILURE);
}

int main(int argc, char **argv) {
    struct command_line line;
    char ps[] = "ps", *alone[] = {ps, NULL};
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* JSON and CSV want a point */
    atexit(close_output);
    argp_err_exit_status = STATUS_USAGE;
    argp_program_version = "goinspect " GOMALLOC_VERSION;
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
        puts(argp_program_version);
        return STATUS_DONE;
    }
    const struct command *command = choose(argc > 1 ? argv[1] : "ps");
    command_parse(command, argc > 1 ? argc - 1 : 1, argc > 1 ? argv + 1 : alone, &line);
    int status = (int)command_run(&line);
    free(line.own);
    free(line.words);
    return status;
}
