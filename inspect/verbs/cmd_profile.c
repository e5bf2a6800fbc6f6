/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect profile: switch the recorder of a live process.
 */
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "cli/command.h"
#include "target/target.h"
#include "base/text.h"

/* A rate in words: "off", "exact", "a sample every 512.0 KiB". */
static void rate_text(char *buf, size_t size, uint64_t rate) {
    char bytes[TEXT_NUMBER_SIZE];
    text_bytes_plain(bytes, (double)rate);
    if (rate == 0)
        snprintf(buf, size, "off");
    else if (rate == 1)
        snprintf(buf, size, "every allocation");
    else
        snprintf(buf, size, "a sample every %s", bytes);
}

/* What to ask the agent for. */
struct change {
    enum gomalloc_verb verb;
    uint64_t arg;
    const char *target;
};

static enum status parse_words(const struct command_line *line, struct change *ret,
                               struct failure *failure) {
    const char *what = line->words[0];
    const char *const whats[] = {"start", "stop", "rate"};
    size_t nwords = strcmp(what, "rate") == 0 ? 3 : 2;
    *ret = (struct change){GOMALLOC_VERB_RATE, 0, line->words[nwords - 1]};
    if (strcmp(what, "start") == 0)
        ret->verb = GOMALLOC_VERB_START;
    else if (strcmp(what, "stop") != 0 && strcmp(what, "rate") != 0) {
        char hint[TEXT_HINT_SIZE];
        text_hint(hint, what, whats, 3);
        return fail(failure, STATUS_USAGE, "profile: '%s' is none of start, stop and rate%s", what,
                    hint);
    }
    if (line->nwords != nwords)
        return fail(failure, STATUS_USAGE, "profile: the usage is: goinspect profile %s",
                    nwords == 3 ? "rate BYTES TARGET" : "start|stop TARGET");
    if (nwords == 3 && !text_parse_bytes(line->words[1], &ret->arg))
        return fail(failure, STATUS_USAGE,
                    "profile: '%s' is not a rate: bytes between samples (512k), 1 = every "
                    "allocation, 0 = off",
                    line->words[1]);
    return STATUS_DONE;
}

static enum status change_rate(const struct change *change, struct failure *failure) {
    struct client client;
    struct gomalloc_reply reply;
    pid_t pid;
    enum status status = target_pid(change->target, &pid, failure);
    if (status == STATUS_DONE)
        status = client_open(pid, 0, &client, failure);
    if (status != STATUS_DONE)
        return status;
    char before[64], after[64];
    status = client_call(&client, GOMALLOC_VERB_PING, 0, &reply, NULL, failure);
    rate_text(before, sizeof(before), reply.value);
    if (status == STATUS_DONE)
        status = client_call(&client, change->verb, change->arg, &reply, NULL, failure);
    if (status == STATUS_FORBIDDEN)
        fail(failure, status,
             "process %d (%s) takes no orders: %s; start it without GOMALLOC=control=off", (int)pid,
             client.proc.comm, reply.message);
    if (status == STATUS_DONE)
        status = client_call(&client, GOMALLOC_VERB_PING, 0, &reply, NULL, failure);
    rate_text(after, sizeof(after), reply.value);
    if (status == STATUS_DONE)
        say("process %d (%s) records %s; before: %s", (int)pid, client.proc.comm, after, before);
    client_close(&client);
    return status;
}

static enum status run(struct command_line *line) {
    struct failure failure = {.status = STATUS_DONE};
    struct change change;
    enum status status = parse_words(line, &change, &failure);
    if (status == STATUS_DONE)
        status = change_rate(&change, &failure);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_profile = {
    .name = "profile",
    .usage = "start TARGET\nstop TARGET\nrate BYTES TARGET",
    .summary = "switch the recorder of a live process on or off, or set its rate",
    .details = "BYTES is the mean distance of two samples: 512k is the library's default, 1\n"
               "records every allocation, 0 none.  start goes back to the rate before the\n"
               "last stop.  The process must have been started with GOMALLOC=control=on.",
    .examples = "  goinspect profile stop redis-server\n"
                "  goinspect profile rate 64k 1234\n",
    .min_words = 2,
    .max_words = 3,
    .run = run,
};
