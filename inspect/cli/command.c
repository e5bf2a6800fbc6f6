/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The list of verbs, and one parsing of the command line for all of them.
 *
 * argp does the work; what it lacks is added here: the nearest name for an option that does not
 * exist, and a --help that lists the verb's columns and examples.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "base/text.h"
#include "names/wrapper.h"
#include "base/usage.h"

#define COMMANDS(X)                                                                                \
    X(run)                                                                                         \
    X(ps)                                                                                          \
    X(status)                                                                                      \
    X(doctor)                                                                                      \
    X(sites)                                                                                       \
    X(leaks)                                                                                       \
    X(why)                                                                                         \
    X(escape)                                                                                      \
    X(pins)                                                                                        \
    X(classes)                                                                                     \
    X(spans)                                                                                       \
    X(arenas)                                                                                      \
    X(pages)                                                                                       \
    X(cache)                                                                                       \
    X(central)                                                                                     \
    X(sql)                                                                                         \
    X(snapshot)                                                                                    \
    X(growth)                                                                                      \
    X(diff)                                                                                        \
    X(check)                                                                                       \
    X(export)                                                                                      \
    X(import)                                                                                      \
    X(profile)                                                                                     \
    X(scavenge)                                                                                    \
    X(help)

#define COMMAND_DECLARE(name) extern const struct command command_verb_##name;
COMMANDS(COMMAND_DECLARE)

#define COMMAND_ENTRY(name) &command_verb_##name,
const struct command *const commands[] = {COMMANDS(COMMAND_ENTRY)};
const size_t ncommands = sizeof(commands) / sizeof(*commands);

enum { OPT_SNAPSHOT = 0x200, OPT_WRAPPERS };

static const struct argp_option snapshot_options[] = {
    {"snapshot", OPT_SNAPSHOT, "N", 0,
     "of a FILE.db: the snapshot with this number, first or latest (default); also as FILE.db@N",
     40},
    {.name = NULL}};

static const struct argp_option wrappers_options[] = {
    {"wrappers", OPT_WRAPPERS, "FILE", 0,
     "further functions that allocate for their caller, one pattern a line", 40},
    {.name = NULL}};

const struct command *command_find(const char *name) {
    for (size_t i = 0; i < ncommands; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

enum status command_unknown(const char *name) {
    const char *names[64];
    char hint[TEXT_HINT_SIZE];
    for (size_t i = 0; i < ncommands; i++)
        names[i] = commands[i]->name;
    text_hint(hint, name, names, ncommands);
    say("no %s '%s'%s%s", name[0] == '-' ? "option" : "verb", name, hint,
        hint[0] ? "" : "; \"goinspect help\" lists them");
    return STATUS_USAGE;
}

static error_t parse_snapshot(int key, char *arg, struct argp_state *state) {
    const char **snapshot = state->input;
    if (key != OPT_SNAPSHOT)
        return ARGP_ERR_UNKNOWN;
    if (strcmp(arg, "latest") != 0 && strcmp(arg, "first") != 0)
        option_number(arg, "--snapshot", 1, state);
    *snapshot = arg;
    return 0;
}

static const struct argp snapshot_argp = {.options = snapshot_options, .parser = parse_snapshot};

static error_t parse_wrappers(int key, char *arg, struct argp_state *state) {
    const char **wrappers = state->input;
    if (key != OPT_WRAPPERS)
        return ARGP_ERR_UNKNOWN;
    *wrappers = arg;
    return 0;
}

static const struct argp wrappers_argp = {.options = wrappers_options, .parser = parse_wrappers};

/* The children of a verb's argp, in the order in which they get their inputs. */
static void children_of(const struct command *command, struct argp_child *children) {
    size_t n = 0;
    if (command->takes & TAKES_SNAPSHOT)
        children[n++] = (struct argp_child){&snapshot_argp, 0, NULL, 0};
    if (command->takes & TAKES_WRAPPERS)
        children[n++] = (struct argp_child){&wrappers_argp, 0, NULL, 0};
    if (command->takes & TAKES_FORMAT)
        children[n++] = (struct argp_child){&output_argp, 0, NULL, 0};
    children[n].argp = NULL;
}

static void parse_init(struct command_line *line, struct argp_state *state) {
    size_t n = 0;
    if (line->command->takes & TAKES_SNAPSHOT)
        state->child_inputs[n++] = &line->snapshot;
    if (line->command->takes & TAKES_WRAPPERS)
        state->child_inputs[n++] = &line->wrappers;
    if (line->command->takes & TAKES_FORMAT)
        state->child_inputs[n++] = &line->output;
}

static void parse_end(struct command_line *line, struct argp_state *state) {
    const struct command *command = line->command;
    if (line->nwords < command->min_words) {
        char *usage = must_dup(command->usage); /* a line for each way */
        for (char *p = usage; (p = strchr(p, '\n')); *p = '|')
            continue;
        usage_error(state, "too few words: goinspect %s %s", command->name, usage);
    }
    if (line->nwords > command->max_words)
        usage_error(state, "too many words, from '%s' on", line->words[command->max_words]);
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    struct command_line *line = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        parse_init(line, state);
        return 0;
    case ARGP_KEY_ARG:
        if (!(line->command->takes & TAKES_COMMAND)) {
            line->words[line->nwords++] = arg;
            return 0;
        }
        return ARGP_ERR_UNKNOWN; /* the other program's: ARGP_KEY_ARGS takes them all */
    case ARGP_KEY_ARGS:
        while (state->next < state->argc)
            line->words[line->nwords++] = state->argv[state->next++];
        return 0;
    case ARGP_KEY_END:
        parse_end(line, state);
        return 0;
    case ARGP_KEY_NO_ARGS:
    case ARGP_KEY_SUCCESS:
    case ARGP_KEY_ERROR:
    case ARGP_KEY_FINI:
        return 0;
    default:
        if (!line->command->option || key > 0xfff)
            return ARGP_ERR_UNKNOWN;
        line->command->option(line, key, arg, state);
        return 0;
    }
}

static const char *kind_unit(enum column_kind kind) {
    static const char *const units[] = {
        [KIND_TEXT] = "text",
        [KIND_COUNT] = "count",
        [KIND_NUMBER] = "number",
        [KIND_BYTES] = "bytes",
        [KIND_PERCENT] = "percent",
        [KIND_ADDRESS] = "address",
        [KIND_DURATION] = "ns",
        [KIND_MOMENT] = "time, ns",
        [KIND_RATE] = "bytes",
        [KIND_UNIT] = "see unit",
        [KIND_ANY] = "",
    };
    return units[kind];
}

static void print_list(const struct column_list *list, FILE *out) {
    fprintf(out, "%s:\n", list->title);
    for (size_t i = 0; i < list->n; i++) {
        const struct column *column = &list->columns[i];
        fprintf(out, "%c %-18s %-9s %s\n", column->flags & COLUMN_EXTRA ? '+' : ' ', column->name,
                kind_unit(column->kind), column->help);
    }
    fputc('\n', out);
}

static void print_columns(const struct command *command, FILE *out) {
    const struct column_list own = {"Columns (+ only with --columns, and in JSON and CSV)",
                                    command->columns, command->ncolumns};
    if (own.n)
        print_list(&own, out);
    for (const struct column_list *list = command->lists; list && list->title; list++)
        print_list(list, out);
}

/* help_filter replaces the text after the options by columns, details and examples. */
static char *help_filter(int key, const char *text, void *input) {
    const struct command_line *line = input;
    if (key != ARGP_KEY_HELP_POST_DOC || !line)
        return (char *)(uintptr_t)text;
    char *buf = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&buf, &size);
    if (!out)
        return NULL;
    if (line->command->details)
        fprintf(out, "%s\n\n", line->command->details);
    print_columns(line->command, out);
    if (line->command->examples)
        fprintf(out, "Examples:\n%s", line->command->examples);
    fclose(out);
    return buf;
}

static void build(const struct command *command, struct argp *argp, struct argp_child *children,
                  char **doc) {
    children_of(command, children);
    *doc = must_format("goinspect %s: %s.\v ", command->name, command->summary);
    *argp = (struct argp){.options = command->options,
                          .parser = parse,
                          .args_doc = command->usage,
                          .doc = *doc,
                          .children = children,
                          .help_filter = help_filter};
}

/* known_option tells whether options hold the long option of n bytes at name, in full or as an
 * unmistakable beginning (argp judges that), and whether a word of its own follows it. */
static bool known_option(const struct argp_option *options, const char *name, size_t n,
                         bool *ret_takes_word) {
    for (; options && (options->name || options->key || options->doc); options++)
        if (options->name && strncmp(options->name, name, n) == 0) {
            *ret_takes_word = options->arg && !(options->flags & OPTION_ARG_OPTIONAL);
            return true;
        }
    return false;
}

#define NLISTS 5 /* of options: argp's, the verb's own, and what it takes */

static size_t option_names(const struct argp_option *options, const char **names, size_t n) {
    for (; options && (options->name || options->key || options->doc); options++)
        if (options->name && n < 64)
            names[n++] = options->name;
    return n;
}

/* The options that argp itself has. */
static const struct argp_option argp_own_options[] = {{"help", '?', NULL, 0, "", 0},
                                                      {"usage", 1, NULL, 0, "", 0},
                                                      {"version", 'V', NULL, 0, "", 0},
                                                      {.name = NULL}};

static void unknown_option(const struct command *command, const struct argp_option *const *lists,
                           const char *name, size_t n) __attribute__((noreturn));
static void unknown_option(const struct command *command, const struct argp_option *const *lists,
                           const char *name, size_t n) {
    const char *names[64];
    size_t nnames = 0;
    char *word = must_dup_n(name, n);
    for (size_t i = 0; i < NLISTS; i++)
        nnames = option_names(lists[i], names, nnames);
    const char *nearest = text_nearest(word, names, nnames);
    if (nearest)
        say("%s: unknown option --%s: did you mean --%s?", command->name, word, nearest);
    else
        say("%s: unknown option --%s; \"goinspect help %s\" lists its options", command->name, word,
            command->name);
    exit(STATUS_USAGE);
}

/* check_name checks a long option, and returns whether a word of its own follows it. */
static bool check_name(const struct command *command, const struct argp_option *const *lists,
                       const char *name) {
    size_t n = strcspn(name, "=");
    bool known = false, takes_word = false;
    for (size_t j = 0; j < NLISTS && !known; j++)
        known = known_option(lists[j], name, n, &takes_word);
    if (!known)
        unknown_option(command, lists, name, n);
    return takes_word && name[n] == '\0';
}

/* short_option returns the option of one letter; NULL: there is none. */
static const struct argp_option *short_option(const struct argp_option *const *lists, char c) {
    for (size_t i = 0; i < NLISTS; i++)
        for (const struct argp_option *o = lists[i]; o && (o->name || o->key || o->doc); o++)
            if (o->key == c)
                return o;
    return NULL;
}

/* check_letters checks a word of options of one letter each, such as -jw5; returns whether a word
 * of the last one's follows. */
static bool check_letters(const struct command *command, const struct argp_option *const *lists,
                          const char *letters) {
    for (; *letters; letters++) {
        const struct argp_option *o = short_option(lists, *letters);
        if (!o)
            usage_error_of(command->name, "unknown option -%c", *letters);
        if (o->arg)
            return letters[1] == '\0' && !(o->flags & OPTION_ARG_OPTIONAL);
    }
    return false;
}

/* check_options looks for options that do not exist, or lack their word, before argp does: to
 * suggest a name, and to say it in one line. */
static void check_options(const struct command *command, int argc, char **argv) {
    const struct argp_option *lists[NLISTS] = {
        argp_own_options, command->options,
        command->takes & TAKES_SNAPSHOT ? snapshot_options : NULL,
        command->takes & TAKES_WRAPPERS ? wrappers_options : NULL,
        command->takes & TAKES_FORMAT ? output_argp.options : NULL};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool takes_word;
        if (strcmp(word, "--") == 0 || (word[0] != '-' && (command->takes & TAKES_COMMAND)))
            return;
        if (word[0] != '-')
            continue;
        if (word[1] == '-')
            takes_word = check_name(command, lists, word + 2);
        else
            takes_word = check_letters(command, lists, word + 1);
        if (takes_word && ++i == argc)
            usage_error_of(command->name, "%s wants a word behind it", word);
    }
}

void command_parse(const struct command *command, int argc, char **argv,
                   struct command_line *line) {
    struct argp argp;
    struct argp_child children[4];
    char *doc, *program = must_format("goinspect %s", command->name);
    memset(line, 0, sizeof(*line));
    line->command = command;
    line->words = must_calloc((size_t)argc + 1, sizeof(*line->words));
    line->own = must_calloc(1, command->own_size);
    output_options_init(&line->output);
    check_options(command, argc, argv);
    build(command, &argp, children, &doc);
    argv[0] = program;
    argp_parse(&argp, argc, argv, command->takes & TAKES_COMMAND ? ARGP_IN_ORDER : 0, NULL, line);
    free(doc);
}

void command_help(const struct command *command) {
    char name[] = "", help[] = "--help", *argv[] = {name, help, NULL};
    struct command_line line;
    command_parse(command, 2, argv, &line); /* ends the program */
}

enum status command_run(struct command_line *line) {
    struct failure failure;
    if ((line->command->takes & (TAKES_WRAPPERS | TAKES_SNAPSHOT)) &&
        wrapper_load(line->wrappers, &failure) != STATUS_DONE)
        return say_failure(&failure);
    if (line->output.watch > 0)
        return watch_run(line, line->command->run);
    return line->command->run(line);
}
