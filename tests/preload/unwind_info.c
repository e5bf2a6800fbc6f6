/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the recorder reads of the program's unwind information does not stay resident.
 *
 * The program has many functions, reads all that is said about them itself, so that it is resident,
 * and has each allocate, so that the recorder reads it too.  Then the pages are gone sooner or
 * later; without the recorder they would stay.
 */
#include <fcntl.h>
#include <link.h>
#include <linux/close_range.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define STRING(x) #x
#define TEXT(x)   STRING(x)

#define NFUNCTIONS    16000
#define FUNCTION_SIZE 16      /* bytes */
#define RECORD_SIZE   24      /* of a function in .eh_frame, at least */
#define EACH          16      /* of so many functions one allocates: some in each page of records */
#define AROUND        0x10000 /* the kernel maps so much around a page */
#define PAGE          4096
#define PATIENCE_US   60000000

/* Each calls what it is given. */
extern const char many_functions[];
__asm__(".text\n.balign 16\n"
        "many_functions:\n"
        ".rept " TEXT(NFUNCTIONS) "\n"
                                  ".cfi_startproc\n"
                                  "sub $8, %rsp\n"
                                  ".cfi_def_cfa_offset 16\n"
                                  "call *%rdi\n"
                                  "add $8, %rsp\n"
                                  ".cfi_def_cfa_offset 8\n"
                                  "ret\n"
                                  ".cfi_endproc\n"
                                  ".balign 16\n"
                                  ".endr\n");

static void allocate(void) {
    char *volatile p = malloc(100);
    CHECK(p != NULL);
    free(p);
}

static void call_all(void) {
    for (size_t i = 0; i < NFUNCTIONS; i += EACH) {
        void (*f)(void (*)(void));
        *(const void **)&f = many_functions + i * FUNCTION_SIZE;
        f(allocate);
    }
}

/* The first object is the program. */
static int find_header(struct dl_phdr_info *o, size_t size, void *ret) {
    (void)size;
    for (int i = 0; i < o->dlpi_phnum; i++)
        if (o->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            *(uintptr_t *)ret = o->dlpi_addr + o->dlpi_phdr[i].p_vaddr;
    return 1;
}

/* find_records returns where .eh_frame begins: .eh_frame_hdr has, from its fourth byte on, how far
 * it is from there. */
static uintptr_t find_records(void) {
    uintptr_t header = 0;
    int32_t distance;
    dl_iterate_phdr(find_header, &header);
    CHECK(header != 0);
    memcpy(&distance, (const void *)(header + 4), sizeof distance);
    return header + 4 + (uintptr_t)(intptr_t)distance;
}

static uint64_t entries[NFUNCTIONS * RECORD_SIZE / PAGE];

static size_t resident(int pagemap, uintptr_t start, size_t npages) {
    size_t n = 0;
    CHECK(pread(pagemap, entries, npages * 8, (off_t)(start / PAGE * 8)) == (ssize_t)(npages * 8));
    for (size_t i = 0; i < npages; i++)
        n += entries[i] >> 63;
    return n;
}

int main(void) {
    uintptr_t records = find_records();
    /* Without what reading beside it brings. */
    uintptr_t start = (records + 2 * AROUND) & ~(uintptr_t)(AROUND - 1);
    uintptr_t end = (records + NFUNCTIONS * RECORD_SIZE - AROUND) & ~(uintptr_t)(AROUND - 1);
    size_t npages = (end - start) / PAGE;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(start < end);
    if (pagemap < 0 || syscall(SYS_close_range, ~0u, ~0u, CLOSE_RANGE_UNSHARE) != 0)
        return 77; /* the library can't look */
    for (size_t i = 0; i < npages; i++)
        (void)*(const volatile char *)(start + i * PAGE);
    CHECK(resident(pagemap, start, npages) != 0);
    call_all();
    for (unsigned us = 0; resident(pagemap, start, npages) != 0; us += 1000) {
        CHECK(us < PATIENCE_US);
        usleep(1000);
    }
    return 0;
}
