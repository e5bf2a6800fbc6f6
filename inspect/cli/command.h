/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The verbs of goinspect.  Each is one file, cmd_VERB.c, that defines one struct command; the list
 * of them is in command.c, the order there is the order of "goinspect help".
 */
#ifndef GOINSPECT_COMMAND_H
#define GOINSPECT_COMMAND_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#include "output/output.h"
#include "base/say.h"

/* command.takes */
#define TAKES_FORMAT   0x1u /* -o FORMAT and the other options about rows */
#define TAKES_SNAPSHOT 0x2u /* --snapshot: the target may be a snapshot file */
#define TAKES_COMMAND  0x4u /* words after the first one are another program's */
#define TAKES_WRAPPERS 0x8u /* --wrappers: sites are named by it */

struct command_line;

/* Columns of what an option makes the verb show instead of its own, for --help. */
struct column_list {
    const char *title; /* "Columns of --levels" */
    const struct column *columns;
    size_t n;
};

struct command {
    const char *name;
    const char *usage;    /* what follows the name: "TARGET [STATEMENT]" */
    const char *summary;  /* one line for the list of verbs, no full stop */
    const char *details;  /* paragraphs for --help, each line under 78 characters; may be NULL */
    const char *examples; /* lines for --help, each indented by two spaces */
    unsigned takes;       /* TAKES_* */
    size_t min_words;     /* words that must follow the name */
    size_t max_words;     /* and may, at most */
    const struct argp_option *options; /* its own, NULL = none */
    /* option handles one of its own options; the verb's own arguments are line->own. */
    void (*option)(struct command_line *line, int key, char *arg, struct argp_state *state);
    int terminal_rows;            /* of a table on a terminal, unless --limit; 0 = all */
    size_t own_size;              /* bytes of its own arguments, which begin as zero */
    const struct column *columns; /* of its rows; NULL: decided when run */
    size_t ncolumns;
    const struct column_list *lists; /* further ones, ended by one without a title; may be NULL */
    enum status (*run)(struct command_line *line);
};

/* One parsed command line. */
struct command_line {
    const struct command *command;
    struct output_options output;
    const char *snapshot; /* --snapshot, NULL: the latest */
    const char *wrappers; /* --wrappers, NULL: no more than is configured */
    char **words;         /* after the options; terminated by NULL */
    size_t nwords;
    void *own; /* command->own_size bytes */
};

extern const struct command *const commands[];
extern const size_t ncommands;

/* command_find returns the verb called name, or NULL. */
const struct command *command_find(const char *name);

/* command_unknown says that there is no verb called name; returns STATUS_USAGE. */
enum status command_unknown(const char *name);

/* command_parse fills *line from the words after the verb's name (argv[0]).  Does not return if
 * the words are wrong (STATUS_USAGE), or ask for help. */
void command_parse(const struct command *command, int argc, char **argv, struct command_line *line);

/* command_help prints what --help prints, and ends the program. */
void command_help(const struct command *command);

/* command_run runs it, again and again with --watch. */
enum status command_run(struct command_line *line);

/* option_number parses a whole number of at least min, or ends with a usage error. */
long long option_number(const char *arg, const char *option, long long min,
                        struct argp_state *state);

/* Their options about rows: an argp child, whose input is a struct output_options. */
extern const struct argp output_argp;
void output_options_init(struct output_options *options);

/* watch_run calls run until a signal or a failure ends it, and paints what it writes. */
enum status watch_run(struct command_line *line, enum status (*run)(struct command_line *));

#endif
