/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leaks --stack-held: what words on stacks and in registers alone keep.
 *
 * Such a word may be a local variable that is needed, or be left over from a call that has ended;
 * then the object is lost, and is no leak yet only because nobody can tell the two apart.
 */
#include "report/held.h"
#include "base/text.h"

const struct column held_columns[HELD_COLUMNS] = {
    {"held", "bytes", KIND_BYTES, 0, "bytes given to the object and to what only it leads to"},
    {"objects", NULL, KIND_COUNT, 0, "these"},
    {"age", "age_s * 1000000000", KIND_DURATION, 0, "of the object, since its allocation"},
    {"holder", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_NAME, "function in whose frame the word is"},
    VIEW_FUNCTION_COLUMNS,
    {"address", "address_number", KIND_ADDRESS, COLUMN_OPTIONAL,
     "of the object, for \"goinspect why\""},
    {"kind", NULL, KIND_TEXT, COLUMN_EXTRA, "where the word is: stack, or which register"},
    {"tid", NULL, KIND_NUMBER, COLUMN_EXTRA, "thread, 0 = not known"},
    {"comm", NULL, KIND_TEXT, COLUMN_EXTRA, "its name"},
    {"word", "word_number", KIND_ADDRESS, COLUMN_EXTRA, "address of the word"},
    {"size", "coalesce(requested, size)", KIND_BYTES, COLUMN_EXTRA,
     "of the object alone: asked for; given, if not recorded"},
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = not recorded"},
    VIEW_PLACE_COLUMNS,
};

enum status held_show(const struct command_line *line, const struct target *target, int rows,
                      struct failure *failure) {
    const struct column_list list = {NULL, held_columns, HELD_COLUMNS};
    const struct view_query query = {.from = "v1_held",
                                     .order = "bytes DESC, objects DESC, address_number"};
    return view_show_as(line, target, &list, rows, &query, failure);
}

void held_say(const struct target *target, bool listed) {
    static const char sql[] = "SELECT held_objects, held_bytes FROM leak_check"
                              " WHERE snapshot_id = :snapshot";
    char objects[TEXT_NUMBER_SIZE], bytes[TEXT_NUMBER_SIZE];
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        int64_t n = sqlite3_column_int64(stmt, 0);
        const char *how = listed ? "" : ": --stack-held lists them";
        text_count(objects, n);
        text_bytes_plain(bytes, (double)sqlite3_column_int64(stmt, 1));
        if (n == 0 && listed)
            say("nothing is held by words on thread stacks and in registers alone");
        else if (n > 0)
            say("held by words on thread stacks and in registers alone: %s in %s object%s; some of "
                "the words may be left over%s",
                bytes, objects, n == 1 ? "" : "s", how);
    }
    sqlite3_finalize(stmt);
}
