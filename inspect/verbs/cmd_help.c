/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect help [VERB]: the list of verbs, or what VERB --help prints.
 */
#include "cli/command.h"

static void print_list(void) {
    puts("Usage: goinspect VERB TARGET [OPTION...]\n"
         "Ask a program that runs under gomalloc, a saved heap image or a snapshot file\n"
         "about its heap.\n");
    puts("TARGET is the number or the name of a process, a FILE.gmi or a FILE.db.\n\nVerbs:");
    for (size_t i = 0; i < ncommands; i++)
        printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
    puts("\nExamples:\n"
         "  goinspect run -- ./server            start it under the library, exact records\n"
         "  goinspect ps                         which processes can be asked\n"
         "  goinspect sites server               who holds the memory\n"
         "  goinspect sql server \"SELECT * FROM v1_site\"\n\n"
         "\"goinspect help VERB\" lists a verb's options, columns and examples;\n"
         "see goinspect(1).");
}

static enum status run(struct command_line *line) {
    if (line->nwords == 0) {
        print_list();
        return STATUS_DONE;
    }
    const struct command *command = command_find(line->words[0]);
    if (!command)
        return command_unknown(line->words[0]);
    command_help(command);
    return STATUS_DONE;
}

const struct command command_verb_help = {
    .name = "help",
    .usage = "[VERB]",
    .summary = "this list, or what a verb takes and shows",
    .examples = "  goinspect help sites\n",
    .max_words = 1,
    .run = run,
};
