/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap image: what is in the heap is in the image, exactly if the heap is at rest, and in a
 * form that holds together if it is not.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image_write.h"
#include "heap/malloc.h"
#include "image_checker.h"
#include "prof/prof.h"

#define BIT(id) (UINT64_C(1) << GOMALLOC_SECTION_##id)

/* new_file opens one that has no name. */
static int new_file(void) {
    char path[] = "/tmp/image.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    return fd;
}

static void take_image(uint64_t sections, uint64_t flags, struct checked_image *im) {
    char err[256] = "";
    int fd = new_file();
    assert_true(fd >= 0);
    if (image_write_fd(fd, sections, flags, err, sizeof err) != 0)
        fail_msg("%s", err);
    check_image(fd, im);
    close(fd);
}

/* A sanitizer may have a thread of its own beside this one. */
static unsigned threads_of_this_process(void) {
    DIR *dir = opendir("/proc/self/task");
    unsigned n = 0;
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static uint64_t flags_now(uint64_t flags) {
    return threads_of_this_process() > 1 ? flags | GOMALLOC_IMAGE_LIVE : flags;
}

static struct image_sums take_sums(void) {
    struct checked_image im;
    take_image(0, 0, &im);
    struct image_sums sums = sum_image(&im);
    free_image(&im);
    return sums;
}

static void *alloc(size_t size) {
    void *p = heap_alloc(mcache_self, size, false);
    assert_non_null(p);
    return p;
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* ---- a heap at rest ----------------------------------------------------------------------- */

static void each_live_object_is_counted_once(void **state) {
    (void)state;
    enum { N = 5000 };
    static void *p[N];
    struct image_sums before = take_sums();
    uint64_t bytes = 0;
    for (unsigned i = 0; i < N; i++) {
        p[i] = alloc(i % 700 + 1);
        bytes += heap_usable(p[i]);
    }
    struct image_sums full = take_sums();
    assert_int_equal(full.objects - before.objects, N);
    assert_int_equal(full.bytes - before.bytes, bytes);
    for (unsigned i = 0; i < N; i += 3)
        release(p[i]);
    struct image_sums thinned = take_sums();
    assert_int_equal(full.objects - thinned.objects, (N + 2) / 3);
    for (unsigned i = 0; i < N; i++)
        if (i % 3 != 0)
            release(p[i]);
    struct image_sums after = take_sums();
    assert_int_equal(after.objects, before.objects);
    assert_int_equal(after.bytes, before.bytes);
}

static void a_large_object_is_one_slot_of_its_pages(void **state) {
    (void)state;
    struct checked_image im;
    void *p = alloc(100000);
    take_image(0, 0, &im);
    const struct gomalloc_span *s = RECORDS(&im, SPAN, gomalloc_span), *found = NULL;
    for (size_t i = 0; i < COUNT(&im, SPAN); i++)
        if (s[i].base == (uintptr_t)p)
            found = &s[i];
    assert_non_null(found);
    assert_int_equal(found->npages, 13);
    assert_int_equal(found->elem_size, 13 * 8192);
    assert_int_equal(found->nelems, 1);
    assert_int_equal(found->live, 1);
    assert_int_equal(found->span_class >> 1, 0);
    assert_int_equal(found->owner, mcache_self->owner.id);
    assert_int_equal(found->place, GOMALLOC_PLACE_NONE);
    free_image(&im);
    release(p);
    take_image(0, 0, &im);
    s = RECORDS(&im, SPAN, gomalloc_span);
    for (size_t i = 0; i < COUNT(&im, SPAN); i++)
        if (s[i].base == (uintptr_t)p) {
            assert_int_equal(s[i].live, 0);
            assert_int_equal(s[i].place, GOMALLOC_PLACE_CACHED_LARGE);
        }
    free_image(&im);
}

/* is_backed tells whether section "backing" calls a page of the kernel's resident. */
static bool is_backed(const struct checked_image *im, uintptr_t addr) {
    const struct gomalloc_backing *b = RECORDS(im, BACKING, gomalloc_backing);
    for (size_t i = 0; i < COUNT(im, BACKING); i++) {
        uint64_t page = (addr - b[i].base) / 4096;
        if (addr >= b[i].base && page < 1024)
            return b[i].resident[page / 64] >> (page % 64) & 1;
    }
    fail_msg("nothing is told of the page");
    return false;
}

/* Of 2,048 pages some are written, and some only read: these are all the page of zeroes. */
static void backing_tells_page_by_page_what_is_resident(void **state) {
    (void)state;
    struct checked_image im;
    char *p = alloc(8 << 20);
    madvise(p, 8 << 20, MADV_NOHUGEPAGE);
    assert_int_equal(madvise(p, 8 << 20, MADV_DONTNEED), 0);
    for (unsigned page = 0; page < 2048; page += 3)
        p[page * 4096u] = 1;
    for (unsigned page = 1; page < 2048; page += 30)
        assert_int_equal(((volatile char *)p)[page * 4096u], 0);
    take_image(BIT(BACKING), 0, &im);
    assert_int_equal(COUNT(&im, BACKING), COUNT(&im, CHUNK));
    assert_true(COUNT(&im, RESIDENT) > 0);
    for (unsigned page = 0; page < 2048; page++)
        if (is_backed(&im, (uintptr_t)p + page * 4096u) != (page % 3 == 0))
            fail_msg("page %u", page);
    free_image(&im);
    release(p);
    take_image(0, 0, &im);
    assert_int_equal(COUNT(&im, BACKING), 0);
    free_image(&im);
}

static void *release_all(void *arg) {
    for (void **p = arg; *p != NULL; p++)
        release(*p);
    return NULL;
}

static void what_another_thread_freed_is_marked_and_not_live(void **state) {
    (void)state;
    void *p[41] = {NULL};
    struct image_sums before = take_sums();
    for (unsigned i = 0; i < 40; i++)
        p[i] = alloc(48);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_all, p), 0);
    pthread_join(thread, NULL);
    struct image_sums after = take_sums();
    assert_int_equal(after.objects, before.objects);
    assert_int_equal(after.marked - before.marked, 40);
}

static void sites_and_requested_sizes_are_those_recorded(void **state) {
    (void)state;
    struct checked_image im;
    void *p[100];
    for (unsigned i = 0; i < 100; i++) {
        size_t slot;
        p[i] = alloc(90); /* of 96 */
        struct mspan *s = heap_find(p[i], &slot);
        assert_true(mslots_record(s, slot, PROF_SITE_NONE, 6));
    }
    take_image(0, 0, &im);
    struct image_sums sums = sum_image(&im);
    assert_int_equal(live_of_site(&im, PROF_SITE_NONE), 100);
    assert_int_equal(sums.recorded, 100);
    assert_int_equal(sums.requested, 100 * 90);
    free_image(&im);
    for (unsigned i = 0; i < 100; i++)
        release(p[i]);
    assert_int_equal(take_sums().recorded, 0);
}

static const struct gomalloc_slot *slot_of(const struct checked_image *im, const void *p) {
    const struct gomalloc_span *s = RECORDS(im, SPAN, gomalloc_span);
    const struct gomalloc_slot *slots = RECORDS(im, SLOT, gomalloc_slot);
    for (size_t i = 0; i < COUNT(im, SPAN); i++) {
        uint64_t offset = (uintptr_t)p - s[i].base;
        if (s[i].slot_index != GOMALLOC_NO_SLOTS && offset < s[i].elem_size * s[i].nelems)
            return &slots[s[i].slot_index + offset / s[i].elem_size];
    }
    return NULL;
}

static void objects_say_when_they_were_born(void **state) {
    (void)state;
    static const uint16_t epochs[] = {0, 41, MEPOCH_UNKNOWN};
    static const uint32_t born[] = {1, 42, 0};
    struct checked_image im;
    void *p[3];
    uint16_t now = mepoch_now();
    for (unsigned i = 0; i < 3; i++) {
        size_t slot;
        p[i] = alloc(3000);
        mepoch_now_ = epochs[i];
        struct mspan *s = heap_find(p[i], &slot);
        assert_true(mslots_record(s, slot, PROF_SITE_NONE, 0));
    }
    take_image(0, 0, &im);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(slot_of(&im, p[i])->born, born[i]);
    free_image(&im);
    for (unsigned i = 0; i < 3; i++)
        release(p[i]);
    mepoch_now_ = now;
}

static void every_page_is_in_one_span_or_free(void **state) {
    (void)state;
    struct checked_image im;
    void *p[] = {alloc(10), alloc(5000), alloc(40000), alloc(3 << 20), alloc(70 << 20)};
    release(p[2]);
    take_image(0, 0, &im);
    struct image_sums sums = sum_image(&im);
    assert_int_equal(sums.span_pages + sums.free_pages, sums.grown_pages);
    assert_true(sums.cached_pages != 0); /* the test reaches page caches */
    const struct gomalloc_arena *a = RECORDS(&im, ARENA, gomalloc_arena);
    uint64_t in_use = 0, free_pages = 0, reserved = 0, pages = 0;
    for (size_t i = 0; i < COUNT(&im, ARENA); i++) {
        in_use += a[i].in_use_pages;
        free_pages += a[i].free_pages;
        reserved += a[i].reserved_bytes / 8192;
        pages += a[i].size / 8192;
        assert_int_equal(a[i].in_use_pages + a[i].free_pages + a[i].reserved_bytes / 8192,
                         a[i].size / 8192);
    }
    assert_int_equal(in_use, sums.span_pages);
    assert_int_equal(free_pages, sums.free_pages);
    assert_int_equal(in_use + free_pages + reserved, pages);
    assert_int_equal(image_counter(&im, "heap.pages_in_use"), in_use);
    free_image(&im);
    release(p[0]), release(p[1]), release(p[3]), release(p[4]);
}

static void summaries_say_what_the_chunks_say(void **state) {
    (void)state;
    struct checked_image im;
    take_image(0, 0, &im);
    const struct gomalloc_summary *s = RECORDS(&im, SUMMARY, gomalloc_summary);
    const struct gomalloc_chunk *c = RECORDS(&im, CHUNK, gomalloc_chunk);
    size_t leaves = 0;
    for (size_t i = 0; i < COUNT(&im, SUMMARY); i++) {
        assert_true(s[i].level < 5);
        assert_true(s[i].start != 0 || s[i].max != 0 || s[i].end != 0);
        if (s[i].level != 4)
            continue;
        for (size_t k = 0; k < COUNT(&im, CHUNK); k++) {
            if (c[k].index != s[i].index)
                continue;
            unsigned start = 0;
            while (start < 512 && (c[k].alloc[start / 64] >> (start % 64) & 1) == 0)
                start++;
            assert_int_equal(s[i].start, start);
            assert_int_equal(s[i].base, c[k].base);
            leaves++;
        }
    }
    assert_true(leaves != 0);
    free_image(&im);
}

static void a_threads_free_slots_are_those_of_its_spans(void **state) {
    (void)state;
    struct checked_image im;
    void *p = alloc(64);
    take_image(0, 0, &im);
    const struct gomalloc_thread *t = RECORDS(&im, THREAD, gomalloc_thread);
    const struct gomalloc_span *s = RECORDS(&im, SPAN, gomalloc_span);
    for (size_t i = 0; i < COUNT(&im, THREAD); i++) {
        uint64_t nspans = 0, bytes = 0;
        for (size_t k = 0; k < COUNT(&im, SPAN); k++)
            if (s[k].owner == t[i].mcache) {
                nspans++;
                bytes += (s[k].nelems - s[k].live) * s[k].elem_size;
            }
        assert_int_equal(t[i].mcache, i);
        assert_int_equal(t[i].nspans, nspans);
        assert_int_equal(t[i].cached_bytes, bytes);
    }
    free_image(&im);
    release(p);
}

/* ---- the allocator's structures ----------------------------------------------------------- */

/* The record of a span class of this thread's mcache. */
static struct gomalloc_mcache_class class_of(const struct checked_image *im, unsigned size_class) {
    const struct gomalloc_mcache_class *k = RECORDS(im, MCACHE_CLASS, gomalloc_mcache_class);
    for (size_t i = 0; i < COUNT(im, MCACHE_CLASS); i++)
        if (k[i].mcache == mcache_self->owner.id && k[i].span_class == size_class << 1)
            return k[i];
    fail_msg("no record of class %u", size_class);
    return (struct gomalloc_mcache_class){0};
}

static void a_cache_tells_of_its_current_span_and_hints(void **state) {
    (void)state;
    enum { SLOTS = 8192 / 112 }; /* of class 9 */
    struct checked_image im;
    void *p[10];
    for (unsigned i = 0; i < 10; i++)
        p[i] = alloc(112);
    take_image(0, 0, &im);
    struct gomalloc_mcache_class k = class_of(&im, 9);
    assert_true(k.current <= (uintptr_t)p[9] && (uintptr_t)p[9] < k.current + 8192);
    assert_int_equal(k.current_free + k.listed_free + k.held_free + 10,
                     (1 + k.nlisted + k.nheld) * SLOTS);
    assert_int_equal(k.nhints, 0);
    free_image(&im);
    for (unsigned i = 0; i < 3; i++)
        release(p[i]);
    take_image(0, 0, &im);
    assert_int_equal(class_of(&im, 9).nhints, 3);
    assert_int_equal(class_of(&im, 9).current_free, k.current_free + 3);
    free_image(&im);
    for (unsigned i = 3; i < 10; i++)
        release(p[i]);
}

static void a_cache_tells_of_marks_that_wait(void **state) {
    (void)state;
    struct checked_image im;
    void *p[41] = {NULL};
    pthread_t thread;
    for (unsigned i = 0; i < 40; i++)
        p[i] = alloc(6000);
    take_image(0, 0, &im);
    uint32_t before = RECORDS(&im, MCACHE, gomalloc_mcache)[mcache_self->owner.id].npending;
    free_image(&im);
    assert_int_equal(pthread_create(&thread, NULL, release_all, p), 0);
    pthread_join(thread, NULL);
    take_image(0, 0, &im);
    uint32_t after = RECORDS(&im, MCACHE, gomalloc_mcache)[mcache_self->owner.id].npending;
    assert_true(after >= before + 10); /* spans of 4 slots */
    free_image(&im);
}

static void a_cache_tells_of_freed_large_objects(void **state) {
    (void)state;
    struct checked_image im;
    take_image(0, 0, &im);
    uint64_t before = RECORDS(&im, MCACHE, gomalloc_mcache)[mcache_self->owner.id].large_bytes;
    free_image(&im);
    release(alloc(72 << 10));
    take_image(0, 0, &im);
    const struct gomalloc_mcache *c = &RECORDS(&im, MCACHE, gomalloc_mcache)[mcache_self->owner.id];
    const struct gomalloc_span *s = RECORDS(&im, SPAN, gomalloc_span);
    uint64_t kept = 0, n = 0;
    for (size_t i = 0; i < COUNT(&im, SPAN); i++)
        if (s[i].place == GOMALLOC_PLACE_CACHED_LARGE) {
            kept += s[i].npages * 8192;
            n++;
        }
    assert_true(c->large_bytes >= before);
    assert_int_equal(c->large_bytes, kept);
    assert_int_equal(c->nlarge, n);
    free_image(&im);
}

static void the_heap_tells_what_is_in_its_spans_and_chunks(void **state) {
    (void)state;
    struct checked_image im;
    void *p = alloc(100000);
    take_image(0, 0, &im);
    const struct gomalloc_mheap *h = RECORDS(&im, MHEAP, gomalloc_mheap);
    const struct gomalloc_scavenger *v = RECORDS(&im, SCAVENGER, gomalloc_scavenger);
    const struct gomalloc_chunk *c = RECORDS(&im, CHUNK, gomalloc_chunk);
    struct image_sums sums = sum_image(&im);
    assert_int_equal(COUNT(&im, MHEAP), 1);
    assert_int_equal(h->pages_in_use, sums.span_pages);
    assert_int_equal(h->pages_grown, sums.grown_pages);
    assert_int_equal(h->pages_taken, sums.span_pages + sums.cached_pages);
    for (size_t i = 0; i < COUNT(&im, CHUNK); i++)
        for (unsigned page = 0; page < 512; page++)
            if (c[i].base + page * UINT64_C(8192) < h->search_addr)
                assert_true((c[i].alloc[page / 64] >> (page % 64) & 1) != 0);
    assert_int_equal(COUNT(&im, SCAVENGER), 1);
    assert_int_equal(v->retained_bytes, (h->pages_grown - h->pages_scavenged) * 8192);
    assert_true(v->goal_bytes >= h->pages_taken * 8192);
    free_image(&im);
    release(p);
}

/* ---- the process -------------------------------------------------------------------------- */

static void the_process_is_this_one(void **state) {
    (void)state;
    struct checked_image im;
    take_image(0, 0, &im);
    assert_int_equal(COUNT(&im, PROCESS), 1);
    const struct gomalloc_process *p = RECORDS(&im, PROCESS, gomalloc_process);
    char exe[4096] = "";
    assert_true(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    assert_int_equal(p->pid, getpid());
    assert_int_equal(p->ppid, getppid());
    assert_int_equal(p->uid, geteuid());
    assert_int_equal(p->nthreads, threads_of_this_process());
    assert_int_equal(p->page_size, 8192);
    assert_true(p->start_ticks != 0 && p->rss_bytes > 4096);
    assert_string_equal(image_text(&im, p->exe_str), exe);
    assert_true(image_text(&im, p->host_str)[0] != '\0');
    assert_true(image_text(&im, p->cmdline_str)[0] != '\0');
    assert_int_equal(im.header->flags, flags_now(0));
    free_image(&im);
}

/* find_id looks for the note with the program's own build-id by way of the loader. */
static int find_id(struct dl_phdr_info *info, size_t size, void *arg) {
    (void)size;
    const char **ret = arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        const char *p = (const char *)info->dlpi_addr + ph->p_vaddr;
        const char *end = p + ph->p_memsz;
        while (ph->p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *n = (const ElfW(Nhdr) *)p;
            const char *desc = p + sizeof *n + (n->n_namesz + 3) / 4 * 4;
            if (n->n_type == NT_GNU_BUILD_ID && n->n_descsz == 20)
                *ret = desc;
            p = desc + (n->n_descsz + 3) / 4 * 4;
        }
    }
    return 1; /* the program itself comes first */
}

static void the_programs_own_code_has_its_mapping_and_build_id(void **state) {
    (void)state;
    struct checked_image im;
    const char *id = NULL;
    dl_iterate_phdr(find_id, &id);
    assert_non_null(id);
    take_image(BIT(MAPPING), 0, &im);
    const struct gomalloc_mapping *m = RECORDS(&im, MAPPING, gomalloc_mapping), *found = NULL;
    uintptr_t pc = (uintptr_t)the_process_is_this_one;
    for (size_t i = 0; i < COUNT(&im, MAPPING); i++)
        if (m[i].start <= pc && pc < m[i].end)
            found = &m[i];
    assert_non_null(found);
    assert_true((found->prot & PROT_EXEC) != 0);
    assert_int_equal(found->build_id_len, 20);
    assert_memory_equal(found->build_id, id, 20);
    assert_non_null(strstr(image_text(&im, found->path_str), "image_write"));
    free_image(&im);
}

/* Those of a leak check, which are the last, are written if it was made. */
#define NUSUAL GOMALLOC_SECTION_LEAK

/* ---- sections ----------------------------------------------------------------------------- */

static void a_section_comes_with_what_it_refers_to(void **state) {
    (void)state;
    void *p = alloc(100);
    for (unsigned id = 0; id < NUSUAL; id++) {
        struct checked_image im;
        take_image(UINT64_C(1) << id, 0, &im);
        assert_non_null(im.records[id]);
        assert_non_null(im.records[GOMALLOC_SECTION_PROCESS]);
        assert_non_null(im.records[GOMALLOC_SECTION_STRING]);
        if (im.records[GOMALLOC_SECTION_SPAN] != NULL)
            assert_non_null(im.records[GOMALLOC_SECTION_BITMAP]);
        if (id == GOMALLOC_SECTION_SLOT)
            assert_non_null(im.records[GOMALLOC_SECTION_SITE]);
        if (im.records[GOMALLOC_SECTION_SITE] != NULL)
            assert_non_null(im.records[GOMALLOC_SECTION_FRAME]);
        assert_int_equal(im.header->flags, flags_now(GOMALLOC_IMAGE_PARTIAL));
        free_image(&im);
    }
    release(p);
}

static void parts_alone_say_the_same_as_the_whole(void **state) {
    (void)state;
    struct checked_image im, part;
    void *p = alloc(1000);
    take_image(0, 0, &im);
    take_image(BIT(THREAD), 0, &part);
    assert_memory_equal(part.records[GOMALLOC_SECTION_THREAD], im.records[GOMALLOC_SECTION_THREAD],
                        COUNT(&im, THREAD) * sizeof(struct gomalloc_thread));
    free_image(&part);
    take_image(BIT(ARENA), 0, &part);
    assert_memory_equal(part.records[GOMALLOC_SECTION_ARENA], im.records[GOMALLOC_SECTION_ARENA],
                        COUNT(&im, ARENA) * sizeof(struct gomalloc_arena));
    free_image(&part);
    free_image(&im);
    release(p);
}

static void two_images_have_two_ids(void **state) {
    (void)state;
    struct checked_image a, b;
    take_image(BIT(PROCESS), 0, &a);
    take_image(BIT(PROCESS), 0, &b);
    assert_memory_not_equal(a.header->image_id, b.header->image_id, 16);
    free_image(&a);
    free_image(&b);
}

/* ---- running threads ---------------------------------------------------------------------- */

static _Atomic bool stop;

/* Allocates and frees so that spans of all kinds come and go. */
static void *churn(void *arg) {
    static void *slots[4][256];
    void **p = slots[(uintptr_t)arg];
    uint32_t x = (uint32_t)(uintptr_t)arg + 1;
    while (!atomic_load(&stop)) {
        x = x * 1664525 + 1013904223;
        unsigned i = x >> 24;
        if (p[i] != NULL)
            release(p[i]);
        p[i] = alloc(x >> 8 & 7 ? x >> 10 & 2047 : x >> 10 & 0x3ffff);
        size_t slot;
        struct mspan *s = heap_find(p[i], &slot);
        mslots_record(s, slot, PROF_SITE_NONE, 0);
    }
    for (unsigned i = 0; i < 256; i++)
        if (p[i] != NULL)
            release(p[i]);
    mcache_detach();
    return NULL;
}

static pthread_t churners[4];

static int start_churn(void **state) {
    (void)state;
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < 4; i++)
        if (pthread_create(&churners[i], NULL, churn, (void *)i) != 0)
            return -1;
    return 0;
}

/* Also after a failure: with the threads running, the tests that follow would never end. */
static int end_churn(void **state) {
    (void)state;
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(churners[i], NULL);
    return 0;
}

static void an_image_of_running_threads_holds_together(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* plain words are read while their owners write them: on purpose, see mspan.h */
#endif
    for (unsigned i = 0; i < 200; i++) {
        struct checked_image im;
        take_image(0, 0, &im); /* which checks it */
        assert_true((im.header->flags & GOMALLOC_IMAGE_LIVE) != 0);
        free_image(&im);
    }
}

/* ---- files -------------------------------------------------------------------------------- */

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/image_write.XXXXXX");
    return mkdtemp(dir) == NULL || chdir(dir) != 0;
}

static int remove_dir(void **state) {
    (void)state;
    unlink("a.gmi");
    return chdir("/") != 0 || rmdir(dir) != 0; /* fails if anything is left over */
}

static void a_file_is_the_whole_image_and_private(void **state) {
    (void)state;
    char err[256];
    struct stat st;
    struct checked_image im;
    umask(0);
    assert_int_equal(image_write_file("a.gmi", GOMALLOC_IMAGE_EXIT, err, sizeof err), 0);
    assert_int_equal(stat("a.gmi", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    int fd = open("a.gmi", O_RDONLY);
    check_image(fd, &im);
    close(fd);
    assert_int_equal(im.header->flags, flags_now(GOMALLOC_IMAGE_EXIT));
    assert_int_equal(im.header->nsections, NUSUAL + 2); /* "resident", "backing" */
    free_image(&im);
}

/* In a child, because the bound stays. */
static void a_file_that_may_not_grow_leaves_the_old_one_and_the_process(void **state) {
    (void)state;
    int fd = open("a.gmi", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, "old", 3), 3);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) {
        char err[256] = "";
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096});
        int r = image_write_file("a.gmi", 0, err, sizeof err);
        sigset_t set;
        sigpending(&set);
        _exit(r == -EFBIG && strstr(err, "File too large") != NULL && !sigismember(&set, SIGXFSZ)
                  ? 0
                  : 1);
    }
    int status;
    char text[4] = "";
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fd = open("a.gmi", O_RDONLY);
    assert_int_equal(read(fd, text, 4), 3);
    close(fd);
    assert_string_equal(text, "old");
}

static void refusals_name_the_file_and_leave_nothing(void **state) {
    (void)state;
    char err[256] = "";
    struct stat st;
    assert_int_equal(image_write_file("no/such.gmi", 0, err, sizeof err), -ENOENT);
    assert_non_null(strstr(err, "no/such.gmi"));
    assert_int_equal(image_write_file("", 0, err, sizeof err), -ENOENT);
    char *path = calloc(1, 8192);
    memset(path, 'a', 8000);
    assert_int_equal(image_write_file(path, 0, err, sizeof err), -ENAMETOOLONG);
    free(path);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(image_write_file("pipe", 0, err, sizeof err), -EEXIST);
    assert_int_equal(stat("pipe", &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    unlink("pipe");
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(image_write_fd(fd, 0, 0, err, sizeof err), -EBADF);
    assert_int_equal(image_write_fd(-1, 0, 0, err, sizeof err), -EBADF);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_live_object_is_counted_once),
        cmocka_unit_test(a_large_object_is_one_slot_of_its_pages),
        cmocka_unit_test(backing_tells_page_by_page_what_is_resident),
        cmocka_unit_test(what_another_thread_freed_is_marked_and_not_live),
        cmocka_unit_test(sites_and_requested_sizes_are_those_recorded),
        cmocka_unit_test(objects_say_when_they_were_born),
        cmocka_unit_test(every_page_is_in_one_span_or_free),
        cmocka_unit_test(summaries_say_what_the_chunks_say),
        cmocka_unit_test(a_threads_free_slots_are_those_of_its_spans),
        cmocka_unit_test(a_cache_tells_of_its_current_span_and_hints),
        cmocka_unit_test(a_cache_tells_of_marks_that_wait),
        cmocka_unit_test(a_cache_tells_of_freed_large_objects),
        cmocka_unit_test(the_heap_tells_what_is_in_its_spans_and_chunks),
        cmocka_unit_test(the_process_is_this_one),
        cmocka_unit_test(the_programs_own_code_has_its_mapping_and_build_id),
        cmocka_unit_test(a_section_comes_with_what_it_refers_to),
        cmocka_unit_test(parts_alone_say_the_same_as_the_whole),
        cmocka_unit_test(two_images_have_two_ids),
        cmocka_unit_test_setup_teardown(an_image_of_running_threads_holds_together, start_churn,
                                        end_churn),
        cmocka_unit_test_setup_teardown(a_file_is_the_whole_image_and_private, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_file_that_may_not_grow_leaves_the_old_one_and_the_process,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(refusals_name_the_file_and_leave_nothing, make_dir,
                                        remove_dir),
    };
    if (mcache_attach() == NULL)
        return 2;
    prof_init(&(struct prof_options){.rate = 0, .unwinder = "none"});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
