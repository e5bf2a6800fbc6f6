/* SPDX-License-Identifier: BSD-3-Clause
 *
 * FILE.db@N: a snapshot of a file in one word.
 */
#include <string.h>
#include <unistd.h>

#include "target/at.h"
#include "base/say.h"

static bool is_snapshot(const char *text) {
    size_t digits = strspn(text, "0123456789");
    if (digits)
        return text[digits] == '\0';
    return strcmp(text, "latest") == 0 || strcmp(text, "first") == 0;
}

bool at_split(const char *word, char **ret_file, const char **ret_snapshot) {
    const char *at = strrchr(word, '@');
    if (!at || at == word || !is_snapshot(at + 1) || access(word, F_OK) == 0)
        return false;
    *ret_file = must_dup_n(word, (size_t)(at - word));
    *ret_snapshot = at + 1;
    return true;
}
