/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A target as a profile for pprof.
 *
 * The profile is made as a tree of protobuf-c's structs, then packed and compressed.  Strings,
 * functions and locations are numbered when they are first met: a map leads from what they are to
 * their number.  A location is a frame; its address is that of the return address less one, which
 * lies in the call and in the mapping.
 *
 * Functions are named here.  pprof looks names up itself in the modules of which some function has
 * none, if it has the files: for it, mappings have their build-ids.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "report/pprof.h"
#include "profile.pb-c.h"
#include "report/samples.h"
#include "base/text.h"
#include "cli/view.h"

/* Pointers to messages, or what else is numbered, in order. */
struct list {
    void **items;
    size_t n;
    size_t room;
};

/* From a key to a number, 0 = none: open addressing, the hash is in the upper bits of the key's
 * product. */
struct map {
    uint64_t *keys;
    uint32_t *numbers; /* 0 = empty place */
    size_t room;       /* a power of two, or 0 */
    size_t n;
};

struct builder {
    struct samples *samples;
    struct list strings, functions, locations, mappings, sample;
    struct map string_of;        /* hash of the text; what is there is compared */
    struct map function_of;      /* name << 32 | file */
    struct map location_of;      /* frame id */
    Profile__Location *location; /* that lines are being added to */
    bool named;                  /* each of its lines has a name */
};

static void *add(struct list *l, void *item) {
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->items = must_realloc(l->items, l->room, sizeof(*l->items));
    }
    return l->items[l->n++] = item;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static size_t place_of(const struct map *m, uint64_t key) {
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (m->room - 1);
}

static void map_add(struct map *m, uint64_t key, uint32_t number);

static void map_grow(struct map *m) {
    struct map larger = {.room = m->room ? 2 * m->room : 1024};
    larger.keys = must_calloc(larger.room, sizeof(*larger.keys));
    larger.numbers = must_calloc(larger.room, sizeof(*larger.numbers));
    for (size_t i = 0; i < m->room; i++)
        if (m->numbers[i])
            map_add(&larger, m->keys[i], m->numbers[i]);
    free(m->keys);
    free(m->numbers);
    *m = larger;
}

/* map_add adds a number; a key may have several. */
static void map_add(struct map *m, uint64_t key, uint32_t number) {
    if (2 * m->n >= m->room)
        map_grow(m);
    size_t i = place_of(m, key);
    while (m->numbers[i])
        i = (i + 1) & (m->room - 1);
    m->keys[i] = key;
    m->numbers[i] = number;
    m->n++;
}

/* map_find returns the key's number, 0 = none.  *at goes on from place to place of those with the
 * same key; SIZE_MAX to begin. */
static uint32_t map_find(const struct map *m, uint64_t key, size_t *at) {
    if (m->room == 0)
        return 0;
    size_t i = *at == SIZE_MAX ? place_of(m, key) : (*at + 1) & (m->room - 1);
    while (m->numbers[i] && m->keys[i] != key)
        i = (i + 1) & (m->room - 1);
    *at = i;
    return m->numbers[i];
}

static uint64_t hash_text(const char *s) {
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h;
}

/* string returns the number of a text in the string table, whose first is the empty one. */
static int64_t string(struct builder *b, const char *text) {
    uint64_t key = hash_text(text);
    size_t at = SIZE_MAX;
    uint32_t number;
    if (b->strings.n == 0)
        add(&b->strings, must_dup(""));
    if (!*text)
        return 0;
    while ((number = map_find(&b->string_of, key, &at)) != 0)
        if (strcmp(b->strings.items[number], text) == 0)
            return number;
    number = (uint32_t)b->strings.n;
    add(&b->strings, must_dup(text));
    map_add(&b->string_of, key, number);
    return number;
}

static uint64_t function(struct builder *b, const char *name, const char *file) {
    int64_t name_string = string(b, name), file_string = string(b, file);
    uint64_t key = (uint64_t)name_string << 32 | (uint64_t)file_string;
    size_t at = SIZE_MAX;
    uint32_t number = map_find(&b->function_of, key, &at);
    if (number)
        return number;
    Profile__Function *f = add(&b->functions, must_calloc(1, sizeof(*f)));
    profile__function__init(f);
    f->id = b->functions.n;
    f->name = f->system_name = name_string;
    f->filename = file_string;
    map_add(&b->function_of, key, (uint32_t)f->id);
    return f->id;
}

/* ---- mappings ----------------------------------------------------------------------------- */

static enum status add_mappings(struct builder *b, const struct target *target,
                                struct failure *failure) {
    /* pprof takes the first one for the program's.  Addresses above 2^63 are negative numbers. */
    static const char sql[] = "SELECT start, end, file_offset, path, build_id FROM mapping m"
                              " JOIN snapshot s ON s.snapshot_id = m.snapshot_id"
                              " WHERE m.snapshot_id = :snapshot AND prot & 4"
                              " ORDER BY path = exe DESC, start < 0, start";
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    while (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        Profile__Mapping *m = add(&b->mappings, must_calloc(1, sizeof(*m)));
        profile__mapping__init(m);
        m->id = b->mappings.n;
        m->memory_start = (uint64_t)sqlite3_column_int64(stmt, 0);
        m->memory_limit = (uint64_t)sqlite3_column_int64(stmt, 1);
        m->file_offset = (uint64_t)sqlite3_column_int64(stmt, 2);
        m->filename = string(b, (const char *)sqlite3_column_text(stmt, 3));
        m->build_id = string(b, (const char *)sqlite3_column_text(stmt, 4));
        m->has_functions = m->has_filenames = m->has_line_numbers = m->has_inline_frames = 1;
    }
    sqlite3_finalize(stmt);
    return status;
}

/* mapping_of returns the mapping that code lies in, NULL = none. */
static Profile__Mapping *mapping_of(struct builder *b, const struct sample_code *code) {
    int64_t name = string(b, code->module);
    for (size_t i = 0; i < b->mappings.n && name; i++) {
        Profile__Mapping *m = b->mappings.items[i];
        if (m->filename == name && code->offset >= m->file_offset &&
            code->offset - m->file_offset < m->memory_limit - m->memory_start)
            return m;
    }
    return NULL;
}

/* ---- locations and samples ---------------------------------------------------------------- */

static void add_line(const struct sample_line *line, void *arg) {
    struct builder *b = arg;
    Profile__Location *l = b->location;
    l->line = must_realloc(l->line, l->n_line + 1, sizeof(*l->line));
    Profile__Line *new = l->line[l->n_line++] = must_calloc(1, sizeof(*new));
    profile__line__init(new);
    new->function_id = function(b, line->function, line->file);
    new->line = line->line;
    new->column = line->column;
    b->named = b->named && line->named;
}

static Profile__Location *new_location(struct builder *b) {
    Profile__Location *l = add(&b->locations, must_calloc(1, sizeof(*l)));
    profile__location__init(l);
    l->id = b->locations.n;
    b->location = l;
    b->named = true;
    return l;
}

static uint64_t location(struct builder *b, int64_t frame) {
    struct sample_code code;
    size_t at = SIZE_MAX;
    uint32_t number = map_find(&b->location_of, (uint64_t)frame, &at);
    if (number)
        return number;
    Profile__Location *l = new_location(b);
    samples_code(b->samples, frame, &code);
    Profile__Mapping *m = mapping_of(b, &code);
    l->mapping_id = m ? m->id : 0;
    l->address = code.offset - 1 + (m ? m->memory_start - m->file_offset : 0);
    samples_lines(b->samples, frame, add_line, b);
    if (m && !b->named)
        m->has_functions = m->has_filenames = m->has_line_numbers = m->has_inline_frames = 0;
    map_add(&b->location_of, (uint64_t)frame, (uint32_t)l->id);
    return l->id;
}

/* place_without_stack is what takes the place of the stack of sites that have none. */
static uint64_t place_without_stack(struct builder *b, const struct sample *sample) {
    uint64_t frame = UINT64_MAX - (uint64_t)(sample->site == 0);
    size_t at = SIZE_MAX;
    uint32_t number = map_find(&b->location_of, frame, &at);
    if (number)
        return number;
    Profile__Location *l = new_location(b);
    add_line(&(struct sample_line){.function = sample->name, .file = ""}, b);
    map_add(&b->location_of, frame, (uint32_t)l->id);
    return l->id;
}

static Profile__Label *add_label(Profile__Sample *s, int64_t key) {
    s->label = must_realloc(s->label, s->n_label + 1, sizeof(*s->label));
    Profile__Label *l = s->label[s->n_label++] = must_calloc(1, sizeof(*l));
    profile__label__init(l);
    l->key = key;
    return l;
}

static void add_sample(struct builder *b, const struct sample *sample) {
    Profile__Sample *s = add(&b->sample, must_calloc(1, sizeof(*s)));
    profile__sample__init(s);
    s->n_value = SAMPLE_NVALUES;
    s->value = must_calloc(SAMPLE_NVALUES, sizeof(*s->value));
    memcpy(s->value, sample->values, sizeof(sample->values));
    s->n_location_id = sample->nframes ? sample->nframes : 1;
    s->location_id = must_calloc(s->n_location_id, sizeof(*s->location_id));
    for (size_t i = 0; i < sample->nframes; i++)
        s->location_id[i] = location(b, sample->frames[i]);
    if (sample->nframes == 0)
        s->location_id[0] = place_without_stack(b, sample);
    if (sample->site > 0)
        add_label(s, string(b, "site"))->num = sample->site;
    if (sample->escape)
        add_label(s, string(b, "escape"))->str = string(b, sample->escape);
}

/* ---- the whole ---------------------------------------------------------------------------- */

static Profile__ValueType *value_type(struct builder *b, const char *type, const char *unit) {
    Profile__ValueType *v = must_calloc(1, sizeof(*v));
    profile__value_type__init(v);
    v->type = string(b, type);
    v->unit = string(b, unit);
    return v;
}

static void add_sample_types(struct builder *b, Profile__Profile *p) {
    static const char *const types[SAMPLE_NVALUES][2] = {
        [ALLOC_OBJECTS] = {"alloc_objects", "count"},
        [ALLOC_SPACE] = {"alloc_space", "bytes"},
        [INUSE_OBJECTS] = {"inuse_objects", "count"},
        [INUSE_SPACE] = {"inuse_space", "bytes"}};
    p->n_sample_type = SAMPLE_NVALUES;
    p->sample_type = must_calloc(SAMPLE_NVALUES, sizeof(*p->sample_type));
    for (int i = 0; i < SAMPLE_NVALUES; i++)
        p->sample_type[i] = value_type(b, types[i][0], types[i][1]);
    p->default_sample_type = string(b, "inuse_space");
    p->period_type = value_type(b, "space", "bytes");
}

/* add_process tells of the process, and when it was looked at. */
static enum status add_process(struct builder *b, Profile__Profile *p, const struct target *target,
                               struct failure *failure) {
    static const char sql[] = "SELECT captured_ns, start_ns, rate, comm || ' ' || pid || ' on ' ||"
                              " host, cmdline, 'libgomalloc ' || library_version"
                              " FROM snapshot s JOIN process p ON p.process_id = s.process_id"
                              " WHERE snapshot_id = :snapshot";
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        p->time_nanos = sqlite3_column_int64(stmt, 0);
        p->duration_nanos = p->time_nanos - sqlite3_column_int64(stmt, 1);
        p->period = sqlite3_column_int64(stmt, 2);
        p->n_comment = 3;
        p->comment = must_calloc(3, sizeof(*p->comment));
        for (int i = 0; i < 3; i++)
            p->comment[i] = string(b, (const char *)sqlite3_column_text(stmt, 3 + i));
    }
    sqlite3_finalize(stmt);
    return status;
}

static enum status build(struct builder *b, Profile__Profile *p, const struct target *target,
                         struct failure *failure) {
    struct sample sample;
    enum status status = samples_open(target, true, &b->samples, failure);
    if (status != STATUS_DONE)
        return status;
    add_sample_types(b, p);
    status = add_process(b, p, target, failure);
    if (status == STATUS_DONE)
        status = add_mappings(b, target, failure);
    while (status == STATUS_DONE && samples_next(b->samples, &sample))
        add_sample(b, &sample);
    struct failure ignored;
    enum status end = samples_close(b->samples, status == STATUS_DONE ? failure : &ignored);
    return status == STATUS_DONE ? end : status;
}

/* hand_over gives the profile what the lists hold; profile__profile__free_unpacked frees it all. */
static void hand_over(const struct builder *b, Profile__Profile *p) {
    p->n_sample = b->sample.n;
    p->sample = (Profile__Sample **)b->sample.items;
    p->n_mapping = b->mappings.n;
    p->mapping = (Profile__Mapping **)b->mappings.items;
    p->n_location = b->locations.n;
    p->location = (Profile__Location **)b->locations.items;
    p->n_function = b->functions.n;
    p->function = (Profile__Function **)b->functions.items;
    p->n_string_table = b->strings.n;
    p->string_table = (char **)b->strings.items;
}

/* compress_bytes makes a file of gzip's of them. */
static enum status compress_bytes(void *bytes, size_t size, void **ret, size_t *ret_size,
                                  struct failure *failure) {
    z_stream z = {.next_in = bytes, .avail_in = (uInt)size};
    if (size > UINT32_MAX / 2 ||
        deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return fail(failure, STATUS_FAILURE, "the profile is too large");
    size_t room = deflateBound(&z, size);
    *ret = must_calloc(room, 1);
    z.next_out = *ret;
    z.avail_out = (uInt)room;
    int rc = deflate(&z, Z_FINISH);
    *ret_size = z.total_out;
    deflateEnd(&z);
    if (rc == Z_STREAM_END)
        return STATUS_DONE;
    free(*ret);
    return fail(failure, STATUS_FAILURE, "the profile cannot be compressed");
}

enum status pprof_make(const struct target *target, void **ret_bytes, size_t *ret_size,
                       struct failure *failure) {
    struct builder b = {.samples = NULL};
    Profile__Profile *p = must_calloc(1, sizeof(*p));
    profile__profile__init(p);
    enum status status = build(&b, p, target, failure);
    hand_over(&b, p);
    if (status == STATUS_DONE) {
        size_t size = profile__profile__get_packed_size(p);
        uint8_t *packed = must_calloc(size, 1);
        profile__profile__pack(p, packed);
        status = compress_bytes(packed, size, ret_bytes, ret_size, failure);
        free(packed);
    }
    profile__profile__free_unpacked(p, NULL);
    free(b.string_of.keys);
    free(b.string_of.numbers);
    free(b.function_of.keys);
    free(b.function_of.numbers);
    free(b.location_of.keys);
    free(b.location_of.numbers);
    return status;
}
