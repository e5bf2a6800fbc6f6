/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap's pages as a picture in characters.
 *
 *      0xc000000000 |####+++...._____|      one character = 16 pages (128 KiB)
 *
 * A chunk comes as a text of 512 characters, one a page (v1_chunk.map).  A character of the picture
 * stands for a group of pages, a power of two, as large as it must be for the picture to take no
 * more than MOST_LINES lines.  A line begins at a multiple of what it covers; lines without a page
 * of the heap are left out and the gap is marked.  A group of which some pages are in use shows how
 * many; otherwise what most of its pages are.
 */
#include <stdlib.h>
#include <string.h>

#include "report/chunkmap.h"
#include "base/text.h"
#include "cli/view.h"

#define PAGE_BYTES  8192
#define CHUNK_PAGES 512
#define MOST_LINES  32
#define MARGIN      17 /* cells of a line beside the picture: the address and two bars */

enum cell { CELL_NONE, CELL_FREE, CELL_SCAVENGED, CELL_CACHED, CELL_USED };
#define SHADES 4 /* of CELL_USED: up to a quarter, a half, three quarters, all */

struct chunk {
    uint64_t page; /* its first page's number in the address space */
    char map[CHUNK_PAGES];
};

struct picture {
    struct chunk *chunks; /* by address */
    size_t nchunks;
    uint64_t group; /* pages a character */
    uint64_t cells; /* characters a line, a power of two */
    bool utf8, color;
};

/* What is drawn for each cell, in both character sets. */
static const struct {
    const char *ascii[SHADES], *utf8[SHADES], *color;
} looks[] = {
    [CELL_NONE] = {{"-"}, {" "}, ""},
    [CELL_FREE] = {{"."}, {"\u00b7"}, "\033[32m"},
    [CELL_SCAVENGED] = {{"_"}, {"_"}, "\033[34m"},
    [CELL_CACHED] = {{"c"}, {"c"}, "\033[36m"},
    [CELL_USED] = {{":", "+", "*", "#"}, {"\u2591", "\u2592", "\u2593", "\u2588"}, "\033[33m"},
};

static enum cell cell_of(char c) {
    switch (c) {
    case '#':
        return CELL_USED;
    case '.':
        return CELL_FREE;
    case '_':
        return CELL_SCAVENGED;
    case 'c':
    case 'C':
        return CELL_CACHED;
    default:
        return CELL_NONE;
    }
}

/* count_group adds the pages from page on, n of them, to counts; returns how many are known. */
static uint64_t count_group(const struct picture *p, uint64_t page, uint64_t n,
                            uint64_t counts[CELL_USED + 1]) {
    size_t low = 0, high = p->nchunks;
    uint64_t known = 0;
    while (low < high) { /* the first chunk that ends after page */
        size_t middle = low + (high - low) / 2;
        if (p->chunks[middle].page + CHUNK_PAGES <= page)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i < p->nchunks && p->chunks[i].page < page + n; i++) {
        uint64_t first = p->chunks[i].page > page ? p->chunks[i].page : page;
        uint64_t end = p->chunks[i].page + CHUNK_PAGES;
        end = end < page + n ? end : page + n;
        for (uint64_t q = first; q < end; q++)
            counts[cell_of(p->chunks[i].map[q - p->chunks[i].page])]++;
        known += end - first;
    }
    return known;
}

/* put_group draws one character. */
static void put_group(FILE *out, const struct picture *p, uint64_t page, enum cell *last) {
    uint64_t counts[CELL_USED + 1] = {0};
    enum cell cell = CELL_NONE;
    size_t shade = 0;
    uint64_t known = count_group(p, page, p->group, counts);
    if (counts[CELL_USED]) {
        cell = CELL_USED;
        shade = (counts[CELL_USED] * SHADES + known - 1) / known - 1;
    } else
        for (enum cell c = CELL_FREE; c < CELL_USED; c++)
            if (counts[c] > counts[cell] || (counts[c] && cell == CELL_NONE))
                cell = c;
    if (p->color && cell != *last)
        fprintf(out, "\033[0m%s", looks[cell].color);
    fputs(p->utf8 ? looks[cell].utf8[shade] : looks[cell].ascii[shade], out);
    *last = cell;
}

static bool line_has_chunk(const struct picture *p, uint64_t page) {
    uint64_t counts[CELL_USED + 1] = {0};
    return count_group(p, page, p->group * p->cells, counts) > counts[CELL_NONE];
}

static void put_line(FILE *out, const struct picture *p, uint64_t page) {
    enum cell last = CELL_NONE;
    fprintf(out, "0x%-12llx |", (unsigned long long)page * PAGE_BYTES);
    for (uint64_t i = 0; i < p->cells; i++)
        put_group(out, p, page + i * p->group, &last);
    fputs(p->color ? "\033[0m|\n" : "|\n", out);
}

/* put_ruler writes at which offset every fourth part of a line begins: "+0  +64K  +128K". */
static void put_ruler(FILE *out, const struct picture *p) {
    static const char units[] = "KMGT";
    uint64_t step = p->cells / 4;
    fprintf(out, "%-15s ", "");
    for (uint64_t i = 0; i < p->cells; i += step) {
        uint64_t offset = i * p->group * PAGE_BYTES / 1024; /* both are powers of two */
        size_t unit = 0;
        char tick[32];
        for (; offset >= 1024 && offset % 1024 == 0 && units[unit + 1]; unit++)
            offset /= 1024;
        snprintf(tick, sizeof(tick), i ? "+%llu%c" : "+0", (unsigned long long)offset, units[unit]);
        fprintf(out, "%-*s", (int)step, tick);
    }
    fputc('\n', out);
}

#define LEGEND 50 /* cells of its lines */

static void put_legend(FILE *out, const struct picture *p, size_t width) {
    char group[TEXT_NUMBER_SIZE];
    text_bytes_plain(group, (double)(p->group * PAGE_BYTES));
    fputs("Pages: ", out);
    for (size_t i = SHADES; i-- > 0;)
        fputs(p->utf8 ? looks[CELL_USED].utf8[i] : looks[CELL_USED].ascii[i], out);
    const char *between = width < LEGEND ? "\n       " : " ";
    fprintf(out, " in use  %s free %s%s given back  c cached\n",
            p->utf8 ? looks[CELL_FREE].utf8[0] : looks[CELL_FREE].ascii[0], between,
            looks[CELL_SCAVENGED].ascii[0]);
    fprintf(out, "%s not grown;%sone character is %llu page%s, %s\n",
            p->utf8 ? "       blank" : "       -", between, (unsigned long long)p->group,
            p->group == 1 ? "" : "s", group);
}

/* count_lines returns how many lines the picture takes with its present group. */
static size_t count_lines(const struct picture *p) {
    uint64_t covers = p->group * p->cells, last = UINT64_MAX;
    size_t lines = 0;
    for (size_t i = 0; i < p->nchunks; i++) {
        uint64_t first = p->chunks[i].page / covers;
        uint64_t end = (p->chunks[i].page + CHUNK_PAGES - 1) / covers;
        first = first == last ? first + 1 : first;
        lines += end + 1 - first;
        last = end;
    }
    return lines;
}

static void paint(FILE *out, struct picture *p, size_t width) {
    for (p->cells = 16; p->cells * 2 + MARGIN <= width && p->cells < 256;)
        p->cells *= 2;
    for (p->group = 1; count_lines(p) > MOST_LINES && p->group < 1u << 20;)
        p->group *= 2;
    uint64_t covers = p->group * p->cells, next = 0;
    put_legend(out, p, width);
    put_ruler(out, p);
    for (size_t i = 0; i < p->nchunks; i++)
        for (uint64_t page = p->chunks[i].page / covers * covers;
             page < p->chunks[i].page + CHUNK_PAGES; page += covers) {
            if (page < next || !line_has_chunk(p, page))
                continue;
            if (next && page > next)
                fprintf(out, "%-15s :\n", "");
            put_line(out, p, page);
            next = page + covers;
        }
}

/* load reads the chunks in order of their address. */
static enum status load(struct picture *p, const struct target *target, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    size_t room = 0;
    enum status status = view_prepare(
        target, "SELECT base, map FROM v1_chunk WHERE snapshot_id = :snapshot ORDER BY base", NULL,
        &stmt, failure);
    if (status != STATUS_DONE)
        return status;
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *map = (const char *)sqlite3_column_text(stmt, 1);
        uint64_t page = (uint64_t)sqlite3_column_int64(stmt, 0) / PAGE_BYTES;
        bool after = !p->nchunks || page >= p->chunks[p->nchunks - 1].page + CHUNK_PAGES;
        if (!map || sqlite3_column_bytes(stmt, 1) != CHUNK_PAGES || !after)
            continue; /* not a chunk: the file is not of our making */
        if (p->nchunks == room) {
            room = room ? room * 2 : 16;
            p->chunks = must_realloc(p->chunks, room, sizeof(*p->chunks));
        }
        p->chunks[p->nchunks].page = page;
        memcpy(p->chunks[p->nchunks++].map, map, CHUNK_PAGES);
    }
    sqlite3_finalize(stmt);
    if (step != SQLITE_DONE)
        return fail(failure, STATUS_FAILURE, "%s", sqlite3_errmsg(target->db));
    return STATUS_DONE;
}

enum status chunkmap_show(const struct output_options *options, const struct target *target,
                          struct failure *failure) {
    struct picture p = {.utf8 = text_utf8_locale(), .color = output_has_color(options)};
    size_t width = output_width(options);
    enum status status = load(&p, target, failure);
    if (status == STATUS_DONE && p.nchunks)
        paint(options->out, &p, width ? width : 80);
    else if (status == STATUS_DONE)
        fputs("No pages: the heap is empty.\n", options->out);
    free(p.chunks);
    return status;
}
