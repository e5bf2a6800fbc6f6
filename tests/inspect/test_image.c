/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The image reader: what it makes of a good image, and that it refuses every other.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/image.h"
#include "maker.h"

static char err[256];

static struct image *open_good(const unsigned char *bytes, size_t size) {
    struct image *im = NULL;
    int rc = image_open_memory(bytes, size, &im, err, sizeof err);
    if (rc)
        fail_msg("%s", err);
    return im;
}

static struct image *open_demo(void) {
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    struct image *im = open_good(bytes, size);
    free(bytes);
    return im;
}

/* refused opens bytes, which must fail with a line, and returns the code. */
static int refused(const unsigned char *bytes, size_t size) {
    struct image *im = NULL;
    err[0] = '\0';
    int rc = image_open_memory(bytes, size, &im, err, sizeof err);
    assert_int_not_equal(rc, 0);
    assert_null(im);
    assert_int_not_equal(err[0], '\0');
    assert_null(strchr(err, '\n'));
    return rc;
}

static int refused_maker(struct maker *m) {
    size_t size;
    unsigned char *bytes = maker_finish(m, &size);
    int rc = refused(bytes, size);
    free(bytes);
    return rc;
}

static struct image *open_maker(struct maker *m) {
    size_t size;
    unsigned char *bytes = maker_finish(m, &size);
    struct image *im = open_good(bytes, size);
    free(bytes);
    return im;
}

/* A good image. */

static void test_reads_what_was_written(void **state) {
    (void)state;
    struct image *im = open_demo();
    const struct gomalloc_process *p = image_process(im);
    assert_int_equal(p->pid, 4711);
    assert_string_equal(image_string(im, p->cmdline_str), "demo --fast");
    assert_string_equal(image_string(im, 0), "");
    size_t n;
    const struct gomalloc_span *s = image_section(im, GOMALLOC_SECTION_SPAN, &n);
    assert_int_equal(n, 5);
    assert_int_equal(s[0].live, 100);
    assert_true(image_has(im, GOMALLOC_SECTION_CHUNK));
    image_close(im);
}

static void test_walks_every_live_object_once_in_order(void **state) {
    (void)state;
    struct image *im = open_demo();
    struct image_object_iter it;
    struct image_object o;
    size_t n = 0, by_site[4] = {0};
    uint64_t last = 0;
    image_object_begin(im, &it);
    while (image_object_next(&it, &o)) {
        assert_true(o.address > last);
        last = o.address;
        by_site[o.site]++;
        n++;
    }
    assert_int_equal(n, 178);
    assert_int_equal(by_site[0], 50);
    assert_int_equal(by_site[1], 100);
    assert_int_equal(by_site[2], 21);
    assert_int_equal(by_site[3], 7);
    image_close(im);
}

static void test_finds_the_object_that_holds_an_address(void **state) {
    (void)state;
    struct image *im = open_demo();
    struct image_object o;
    assert_true(image_object_at(im, DEMO_ARENA + 99 * 24 + 23, &o));
    assert_int_equal(o.slot, 99);
    assert_int_equal(o.site, 1);
    assert_true(o.requested_known);
    assert_int_equal(o.requested, 20);
    assert_false(image_object_at(im, DEMO_ARENA + 100 * 24, &o));    /* free slot */
    assert_false(image_object_at(im, DEMO_ARENA + 8191, &o));        /* tail of the span */
    assert_false(image_object_at(im, DEMO_ARENA - 1, &o));           /* below the heap */
    assert_true(image_object_at(im, DEMO_ARENA + 8 * 8192 - 1, &o)); /* end of the large one */
    assert_int_equal(o.requested, DEMO_LARGE_BYTES);
    assert_false(image_object_at(im, DEMO_ARENA + 8 * 8192, &o)); /* manual span */
    assert_true(image_object_at(im, DEMO_ARENA + 2 * 8192, &o));  /* not recorded */
    assert_false(o.requested_known);
    image_close(im);
}

static void test_finds_records_by_key_in_any_order(void **state) {
    (void)state;
    struct demo d = demo_default;
    d.other_numbers = true; /* sites 30, 20, 10 */
    size_t size;
    unsigned char *bytes = demo_image(&d, &size);
    struct image *im = open_good(bytes, size);
    assert_int_equal(image_find(im, GOMALLOC_SECTION_SITE, 30), 0);
    assert_int_equal(image_find(im, GOMALLOC_SECTION_SITE, 10), 2);
    assert_true(image_find(im, GOMALLOC_SECTION_SITE, 15) == SIZE_MAX);
    assert_true(image_find(im, GOMALLOC_SECTION_SITE, 0) == SIZE_MAX);
    assert_non_null(image_mapping_at(im, DEMO_TEXT + 0x1000));
    assert_null(image_mapping_at(im, DEMO_TEXT + 0x3000));
    assert_non_null(image_mapping_at(im, UINT64_C(0xffffffffff600123)));
    image_close(im);
    free(bytes);
}

static void test_reads_from_a_descriptor_and_a_path(void **state) {
    (void)state;
    char path[] = "/tmp/image-test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(demo_write(&demo_default, path));
    struct image *im;
    assert_int_equal(image_open(path, &im, err, sizeof err), 0);
    image_close(im);
    assert_int_equal(image_open_fd(fd, "memfd", &im, err, sizeof err), 0);
    assert_int_equal(image_size(im), image_header(im)->file_size);
    image_close(im);
    close(fd);
    unlink(path);
}

/* The image is a private copy: nobody who holds the descriptor can take it away. */
static void test_survives_the_file_being_truncated_later(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    int fd = memfd_create("image", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, size), size);
    struct image *im;
    assert_int_equal(image_open_fd(fd, "memfd", &im, err, sizeof err), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_memory_equal(image_bytes(im), bytes, size);
    image_close(im);
    close(fd);
    free(bytes);
}

/* Other shapes of the same. */

static void test_skips_a_section_it_does_not_know(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    memcpy(bytes + sizeof(struct gomalloc_image) +
               GOMALLOC_SECTION_COUNTER * sizeof(struct gomalloc_section),
           "from-the-future", 16);
    image_repair(bytes, size);
    struct image *im = open_good(bytes, size);
    assert_false(image_has(im, GOMALLOC_SECTION_COUNTER));
    image_close(im);
    free(bytes);
}

static void test_a_name_in_a_message_is_one_line_without_controls(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    struct gomalloc_section s;
    unsigned char *entry = bytes + sizeof(struct gomalloc_image) +
                           GOMALLOC_SECTION_COUNTER * sizeof(struct gomalloc_section);
    memcpy(&s, entry, sizeof s);
    memcpy(s.name, "red\033[31m\nline", 14);
    s.offset = UINT64_MAX - 7;
    memcpy(entry, &s, sizeof s);
    image_repair(bytes, size);
    refused(bytes, size);
    assert_non_null(strstr(err, "\"red?[31m?line\" lies outside"));
    free(bytes);
}

static void test_takes_what_it_knows_of_longer_records(void **state) {
    (void)state;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    m.sections[GOMALLOC_SECTION_SPAN].record_size += 24;
    m.sections[GOMALLOC_SECTION_FRAME].record_size += 8;
    struct image *im = open_maker(&m);
    size_t n;
    const struct gomalloc_span *s = image_section(im, GOMALLOC_SECTION_SPAN, &n);
    assert_int_equal(n, 5);
    assert_int_equal(s[3].large_requested, DEMO_LARGE_BYTES);
    const struct gomalloc_frame *f = image_section(im, GOMALLOC_SECTION_FRAME, &n);
    assert_int_equal(f[n - 1].pc, DEMO_TEXT + DEMO_TABLE_OFFSET);
    image_close(im);
    maker_free(&m);
}

static void test_fills_shorter_records_with_zero(void **state) {
    (void)state;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    m.sections[GOMALLOC_SECTION_SPAN].record_size -= 8; /* without large_requested */
    struct image *im = open_maker(&m);
    size_t n;
    const struct gomalloc_span *s = image_section(im, GOMALLOC_SECTION_SPAN, &n);
    assert_int_equal(s[3].npages, DEMO_LARGE_PAGES);
    assert_int_equal(s[3].large_requested, 0);
    image_close(im);
    maker_free(&m);
}

static void test_a_partial_image_may_lack_any_section(void **state) {
    (void)state;
    for (int id = 0; id < GOMALLOC_NSECTIONS; id++) {
        struct maker m;
        maker_init(&m);
        demo_make(&m, &demo_default);
        m.header.flags |= GOMALLOC_IMAGE_PARTIAL;
        m.sections[id].absent = true;
        m.sections[id].size = 0;
        struct image *im = open_maker(&m);
        assert_false(image_has(im, (enum gomalloc_section_id)id));
        struct image_object_iter it;
        struct image_object o;
        image_object_begin(im, &it);
        while (image_object_next(&it, &o))
            assert_true(o.site < 4);
        assert_string_equal(image_string(im, 77777), "");
        image_close(im);
        maker_free(&m);
    }
}

static void test_live_counts_are_those_of_the_bitmap(void **state) {
    (void)state;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    struct gomalloc_span *s = maker_record(&m, GOMALLOC_SECTION_SPAN, 0);
    s->live = 3;
    *(uint64_t *)maker_record(&m, GOMALLOC_SECTION_BITMAP, 5) |= UINT64_C(1) << 63; /* slot 383 */
    struct image *im = open_maker(&m);
    size_t n;
    assert_int_equal(
        ((const struct gomalloc_span *)image_section(im, GOMALLOC_SECTION_SPAN, &n))->live, 100);
    image_close(im);
    maker_free(&m);
}

static void test_a_site_made_during_a_live_capture_is_not_recorded(void **state) {
    (void)state;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    ((struct gomalloc_slot *)maker_record(&m, GOMALLOC_SECTION_SLOT, 5))->site = 999;
    assert_int_equal(refused_maker(&m), IMAGE_DAMAGED);
    m.header.flags = GOMALLOC_IMAGE_LIVE;
    struct image *im = open_maker(&m);
    struct image_object o;
    assert_true(image_object_at(im, DEMO_ARENA + 5 * 24, &o));
    assert_int_equal(o.site, 0);
    image_close(im);
    maker_free(&m);
}

/* Refusals. */

static void test_refuses_an_image_cut_at_any_byte(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    for (size_t n = 0; n < size; n++)
        assert_int_equal(refused(bytes, n), IMAGE_DAMAGED);
    free(bytes);
}

static void test_refuses_an_image_with_bytes_after_it(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    unsigned char *more = calloc(1, size + 8);
    memcpy(more, bytes, size);
    assert_int_equal(refused(more, size + 1), IMAGE_DAMAGED);
    assert_int_equal(refused(more, size + 8), IMAGE_DAMAGED);
    free(more);
    free(bytes);
}

static void test_refuses_an_image_with_any_byte_changed(void **state) {
    (void)state;
    static const unsigned char changes[] = {0x01, 0x80, 0xff};
    size_t size;
    unsigned char *bytes = demo_image(&demo_default, &size);
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < sizeof changes; k++) {
            bytes[i] ^= changes[k];
            assert_int_equal(refused(bytes, size), i < 8 ? IMAGE_NOT_IMAGE : IMAGE_DAMAGED);
            bytes[i] ^= changes[k];
        }
    free(bytes);
}

static void test_another_version_is_told_from_damage(void **state) {
    (void)state;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    m.header.version = 2;
    assert_int_equal(refused_maker(&m), IMAGE_VERSION);
    assert_non_null(strstr(err, "version 2"));
    maker_free(&m);
}

#define SPAN(m, n)             ((struct gomalloc_span *)maker_record(m, GOMALLOC_SECTION_SPAN, n))
#define RECORD(m, id, type, n) ((struct type *)maker_record(m, GOMALLOC_SECTION_##id, n))

static void break_frame_loop(struct maker *m) {
    RECORD(m, FRAME, gomalloc_frame, 1)->parent = 2;
}
static void break_frame_forward(struct maker *m) {
    RECORD(m, FRAME, gomalloc_frame, 0)->parent = 4;
}
static void break_frame_depth(struct maker *m) {
    RECORD(m, FRAME, gomalloc_frame, 2)->depth = 7;
}
static void break_site_frame(struct maker *m) {
    RECORD(m, SITE, gomalloc_site, 0)->frame = 6;
}
static void break_site_zero(struct maker *m) {
    RECORD(m, SITE, gomalloc_site, 0)->site = 0;
}
static void break_site_twice(struct maker *m) {
    RECORD(m, SITE, gomalloc_site, 0)->site = 2;
}
static void break_site_nan(struct maker *m) {
    RECORD(m, SITE, gomalloc_site, 0)->alloc_bytes = __builtin_nan("");
}
static void break_site_negative(struct maker *m) {
    RECORD(m, SITE, gomalloc_site, 0)->alloc_objects = -1;
}
static void break_bitmap_index(struct maker *m) {
    SPAN(m, 0)->bitmap_index = UINT64_MAX - 2;
}
static void break_bitmap_end(struct maker *m) {
    SPAN(m, 3)->bitmap_index += 1;
}
static void break_bitmap_shared(struct maker *m) {
    m->sections[GOMALLOC_SECTION_BITMAP].size -= 8;
    SPAN(m, 3)->bitmap_index = 0;
}
static void break_slot_index(struct maker *m) {
    SPAN(m, 0)->slot_index = UINT64_MAX - 5;
}
static void break_slot_end(struct maker *m) {
    SPAN(m, 1)->slot_index += 2;
    m->sections[GOMALLOC_SECTION_SLOT].size -= 8;
}
static void break_slot_site(struct maker *m) {
    RECORD(m, SLOT, gomalloc_slot, 0)->site = 4;
}
static void break_slot_slack(struct maker *m) {
    RECORD(m, SLOT, gomalloc_slot, 0)->slack = 25;
}
static void break_span_overlap(struct maker *m) {
    SPAN(m, 0)->npages = 2;
}
static void break_span_nelems(struct maker *m) {
    SPAN(m, 0)->nelems = 342;
}
static void break_span_elem_size(struct maker *m) {
    SPAN(m, 0)->elem_size = 0;
}
static void break_span_pages(struct maker *m) {
    SPAN(m, 4)->npages = UINT64_MAX / 8192 + 2;
}
static void break_span_class(struct maker *m) {
    SPAN(m, 0)->span_class = 136;
}
static void break_span_state(struct maker *m) {
    SPAN(m, 0)->state = 3;
}
static void break_span_place(struct maker *m) {
    SPAN(m, 0)->place = 8;
}
static void break_span_large(struct maker *m) {
    SPAN(m, 3)->large_requested = 5 * 8192 + 1;
}
static void break_process_string(struct maker *m) {
    RECORD(m, PROCESS, gomalloc_process, 0)->exe_str = 1 << 30;
}
static void break_process_figure(struct maker *m) {
    RECORD(m, PROCESS, gomalloc_process, 0)->rss_bytes = UINT64_C(1) << 63;
}
static void break_process_page(struct maker *m) {
    RECORD(m, PROCESS, gomalloc_process, 0)->page_size = 0;
}
static void break_process_twice(struct maker *m) {
    struct gomalloc_process p = *RECORD(m, PROCESS, gomalloc_process, 0);
    maker_add(m, GOMALLOC_SECTION_PROCESS, &p);
}
static void break_process_missing(struct maker *m) {
    m->sections[GOMALLOC_SECTION_PROCESS].size = 0;
}
static void break_strings_end(struct maker *m) {
    m->sections[GOMALLOC_SECTION_STRING].size -= 1;
}
static void break_strings_start(struct maker *m) {
    m->sections[GOMALLOC_SECTION_STRING].bytes[0] = 'x';
}
static void break_build_id(struct maker *m) {
    RECORD(m, MAPPING, gomalloc_mapping, 0)->build_id_len = 21;
}
static void break_mapping_order(struct maker *m) {
    RECORD(m, MAPPING, gomalloc_mapping, 0)->end = DEMO_TEXT;
}
static void break_mapping_overlap(struct maker *m) {
    RECORD(m, MAPPING, gomalloc_mapping, 0)->end = UINT64_MAX;
}
static void break_size_class(struct maker *m) {
    RECORD(m, SIZE_CLASS, gomalloc_size_class, 67)->size_class = 68;
}
static void break_arena(struct maker *m) {
    RECORD(m, ARENA, gomalloc_arena, 0)->size = UINT64_C(1) << 63;
}
static void break_summary_level(struct maker *m) {
    RECORD(m, SUMMARY, gomalloc_summary, 0)->level = 5;
}
static void break_summary_max(struct maker *m) {
    RECORD(m, SUMMARY, gomalloc_summary, 0)->max = 513;
}
static void break_chunk(struct maker *m) {
    struct gomalloc_chunk c = *RECORD(m, CHUNK, gomalloc_chunk, 0);
    c.base += 8192;
    maker_add(m, GOMALLOC_SECTION_CHUNK, &c);
}
static void break_record_size(struct maker *m) {
    m->sections[GOMALLOC_SECTION_SPAN].record_size = 7;
}
static void break_bitmap_size(struct maker *m) {
    m->sections[GOMALLOC_SECTION_BITMAP].record_size = 16;
}

static const struct breakage {
    const char *name;
    void (*make)(struct maker *m);
} breakages[] = {
    {"a frame that is its own caller", break_frame_loop},
    {"a frame called by a later one", break_frame_forward},
    {"a wrong depth", break_frame_depth},
    {"a site whose stack is outside", break_site_frame},
    {"a site 0", break_site_zero},
    {"two sites of one number", break_site_twice},
    {"a figure that is no number", break_site_nan},
    {"a negative figure", break_site_negative},
    {"a bitmap outside", break_bitmap_index},
    {"a bitmap half outside", break_bitmap_end},
    {"two spans with one bitmap", break_bitmap_shared},
    {"slots outside", break_slot_index},
    {"slots half outside", break_slot_end},
    {"a slot of no site", break_slot_site},
    {"more slack than bytes", break_slot_slack},
    {"spans that overlap", break_span_overlap},
    {"more objects than fit", break_span_nelems},
    {"objects of no bytes", break_span_elem_size},
    {"a span around the address space", break_span_pages},
    {"a span class beyond the last", break_span_class},
    {"a state beyond the last", break_span_state},
    {"a place beyond the last", break_span_place},
    {"a large object larger than its span", break_span_large},
    {"a string outside", break_process_string},
    {"a figure beyond 2^63", break_process_figure},
    {"pages of no bytes", break_process_page},
    {"two processes", break_process_twice},
    {"no process", break_process_missing},
    {"strings that do not end", break_strings_end},
    {"strings that do not begin with the empty one", break_strings_start},
    {"a build-id of 21 bytes", break_build_id},
    {"a mapping that ends before it starts", break_mapping_order},
    {"mappings that overlap", break_mapping_overlap},
    {"a size class beyond the last", break_size_class},
    {"an arena around the address space", break_arena},
    {"a sixth level of summaries", break_summary_level},
    {"more free pages than pages", break_summary_max},
    {"chunks that overlap", break_chunk},
    {"records shorter than a word", break_record_size},
    {"words of 16 bytes", break_bitmap_size},
};

static void test_refuses_nonsense_with_right_checksums(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof breakages / sizeof breakages[0]; i++) {
        struct maker m;
        maker_init(&m);
        demo_make(&m, &demo_default);
        breakages[i].make(&m);
        size_t size;
        unsigned char *bytes = maker_finish(&m, &size);
        struct image *im = NULL;
        int rc = image_open_memory(bytes, size, &im, err, sizeof err);
        if (rc != IMAGE_DAMAGED)
            fail_msg("%s: %d", breakages[i].name, rc);
        free(bytes);
        maker_free(&m);
    }
}

/* Directory entries with right checksums of the header. */

static struct gomalloc_section *entry(unsigned char *bytes, enum gomalloc_section_id id) {
    return (struct gomalloc_section *)(bytes + sizeof(struct gomalloc_image)) + id;
}

static void test_refuses_a_senseless_directory(void **state) {
    (void)state;
    for (int kind = 0; kind < 9; kind++) {
        size_t size;
        unsigned char *bytes = demo_image(&demo_default, &size);
        struct gomalloc_section *s = entry(bytes, GOMALLOC_SECTION_SPAN);
        struct gomalloc_image *h = (struct gomalloc_image *)bytes;
        switch (kind) {
        case 0:
            s->offset += 8;
            break;
        case 1:
            s->offset += 4;
            break;
        case 2:
            s->count = UINT64_MAX;
            break;
        case 3:
            s->count -= 1;
            break; /* leaves a gap */
        case 4:
            s->record_size = 0;
            break;
        case 5:
            s->offset = 0;
            break; /* the header itself */
        case 6:
            memcpy(s->name, "site\0", 5);
            break; /* two of a name */
        case 7:
            s->offset = entry(bytes, GOMALLOC_SECTION_CHUNK)->offset;
            break;
        case 8:
            h->nsections -= 1;
            break;
        }
        image_repair(bytes, size);
        if (refused(bytes, size) != IMAGE_DAMAGED)
            fail_msg("kind %d", kind);
        free(bytes);
    }
}

static void test_refuses_what_is_no_image(void **state) {
    (void)state;
    char path[] = "/tmp/image-test.XXXXXX";
    char fifo[sizeof path + 8];
    struct image *im;
    assert_non_null(mkdtemp(path));
    snprintf(fifo, sizeof fifo, "%s/fifo", path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(image_open(path, &im, err, sizeof err), -EISDIR);
    assert_int_equal(image_open(fifo, &im, err, sizeof err), IMAGE_NOT_IMAGE); /* does not wait */
    unlink(fifo);
    assert_int_equal(image_open(fifo, &im, err, sizeof err), -ENOENT);
    assert_int_equal(refused((const unsigned char *)"ELF, or so", 10), IMAGE_NOT_IMAGE);
    rmdir(path);
}

/* A sparse file costs its writer nothing: it must not cost us the machine's memory. */
static void test_refuses_a_file_larger_than_memory(void **state) {
    (void)state;
    char path[] = "/tmp/image-test.XXXXXX";
    struct image *im;
    int fd = mkstemp(path);
    unlink(path);
    if (ftruncate(fd, (off_t)1 << 42)) {
        close(fd);
        skip(); /* the file system has no such files */
    }
    assert_int_equal(image_open_fd(fd, "sparse", &im, err, sizeof err), -EFBIG);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_was_written),
        cmocka_unit_test(test_walks_every_live_object_once_in_order),
        cmocka_unit_test(test_finds_the_object_that_holds_an_address),
        cmocka_unit_test(test_finds_records_by_key_in_any_order),
        cmocka_unit_test(test_reads_from_a_descriptor_and_a_path),
        cmocka_unit_test(test_survives_the_file_being_truncated_later),
        cmocka_unit_test(test_skips_a_section_it_does_not_know),
        cmocka_unit_test(test_a_name_in_a_message_is_one_line_without_controls),
        cmocka_unit_test(test_takes_what_it_knows_of_longer_records),
        cmocka_unit_test(test_fills_shorter_records_with_zero),
        cmocka_unit_test(test_a_partial_image_may_lack_any_section),
        cmocka_unit_test(test_live_counts_are_those_of_the_bitmap),
        cmocka_unit_test(test_a_site_made_during_a_live_capture_is_not_recorded),
        cmocka_unit_test(test_refuses_an_image_cut_at_any_byte),
        cmocka_unit_test(test_refuses_an_image_with_bytes_after_it),
        cmocka_unit_test(test_refuses_an_image_with_any_byte_changed),
        cmocka_unit_test(test_another_version_is_told_from_damage),
        cmocka_unit_test(test_refuses_nonsense_with_right_checksums),
        cmocka_unit_test(test_refuses_a_senseless_directory),
        cmocka_unit_test(test_refuses_what_is_no_image),
        cmocka_unit_test(test_refuses_a_file_larger_than_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
