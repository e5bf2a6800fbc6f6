/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reads a JSON file into a tree, and prints it: json FILE [TIMES]
 *
 * As programs have it that take one apart, use it, and put it together: a node for each value, a
 * string for each text, arrays that grow by realloc, a text that grows by realloc, and all of it
 * freed.  What is printed is compared with the first time's print, byte for byte; the last is
 * written to standard output.  No escapes are interpreted, as the bench's file has none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { WORD, TEXT, ARRAY, OBJECT };

/* A value.  A word is a number, true, false or null, kept as it was written. */
struct value {
    enum kind kind;
    size_t n;            /* of the array's or object's members */
    size_t room;         /* for members, before the next realloc */
    char *text;          /* WORD, TEXT */
    char **keys;         /* OBJECT */
    struct value **item; /* ARRAY, OBJECT */
};

static void *must(void *p) {
    if (p == NULL)
        abort();
    return p;
}

static void fail(const char *at) {
    fprintf(stderr, "json: not understood: %.20s\n", at);
    exit(1);
}

static const char *skip(const char *s) {
    return s + strspn(s, " \t\r\n");
}

/* ---- reading ------------------------------------------------------------------------------ */

static char *cut(const char **s, size_t n) {
    char *p = must(malloc(n + 1));
    memcpy(p, *s, n);
    p[n] = '\0';
    *s += n;
    return p;
}

static char *read_text(const char **s) {
    const char *end = strchr(++*s, '"');
    if (end == NULL)
        fail(*s);
    char *p = cut(s, (size_t)(end - *s));
    ++*s;
    return p;
}

static void append(struct value *v, char *key, struct value *item) {
    if (v->n == v->room) {
        v->room = v->room == 0 ? 2 : v->room * 2;
        v->item = must(realloc(v->item, v->room * sizeof *v->item));
        if (v->kind == OBJECT)
            v->keys = must(realloc(v->keys, v->room * sizeof *v->keys));
    }
    if (v->kind == OBJECT)
        v->keys[v->n] = key;
    v->item[v->n++] = item;
}

static struct value *read_value(const char **s);

static void read_members(struct value *v, const char **s, char end) {
    *s = skip(*s + 1);
    while (**s != end) {
        char *key = NULL;
        if (v->kind == OBJECT) {
            key = read_text(s);
            *s = skip(*s);
            if (*(*s)++ != ':')
                fail(*s);
        }
        append(v, key, read_value(s));
        *s = skip(*s);
        if (**s == ',')
            *s = skip(*s + 1);
        else if (**s != end)
            fail(*s);
    }
    ++*s;
}

static struct value *read_value(const char **s) {
    struct value *v = must(calloc(1, sizeof *v));
    *s = skip(*s);
    if (**s == '{' || **s == '[') {
        v->kind = **s == '{' ? OBJECT : ARRAY;
        read_members(v, s, **s == '{' ? '}' : ']');
    } else if (**s == '"') {
        v->kind = TEXT;
        v->text = read_text(s);
    } else {
        size_t n = strspn(*s, "+-.0123456789eEtrufalsn");
        if (n == 0)
            fail(*s);
        v->text = cut(s, n);
    }
    return v;
}

/* ---- printing ----------------------------------------------------------------------------- */

struct output {
    char *p;
    size_t n, room;
};

static void put(struct output *o, const char *s, size_t n) {
    while (o->n + n > o->room) {
        o->room = o->room == 0 ? 4096 : o->room * 3 / 2;
        o->p = must(realloc(o->p, o->room));
    }
    memcpy(o->p + o->n, s, n);
    o->n += n;
}

static void put_text(struct output *o, const char *s) {
    put(o, "\"", 1);
    put(o, s, strlen(s));
    put(o, "\"", 1);
}

static void print_value(struct output *o, const struct value *v) {
    if (v->kind == TEXT || v->kind == WORD) {
        v->kind == TEXT ? put_text(o, v->text) : put(o, v->text, strlen(v->text));
        return;
    }
    put(o, v->kind == ARRAY ? "[" : "{", 1);
    for (size_t i = 0; i < v->n; i++) {
        if (i != 0)
            put(o, ",", 1);
        if (v->kind == OBJECT) {
            put_text(o, v->keys[i]);
            put(o, ":", 1);
        }
        print_value(o, v->item[i]);
    }
    put(o, v->kind == ARRAY ? "]" : "}", 1);
}

static void drop(struct value *v) {
    for (size_t i = 0; i < v->n; i++) {
        drop(v->item[i]);
        if (v->kind == OBJECT)
            free(v->keys[i]);
    }
    free(v->text);
    free(v->keys);
    free(v->item);
    free(v);
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "re");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    long n = ftell(f);
    rewind(f);
    char *p = must(malloc((size_t)n + 1));
    p[fread(p, 1, (size_t)n, f)] = '\0';
    fclose(f);
    return p;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 64;
    char *source = read_file(argv[1]);
    struct output first = {0};
    for (int times = argc > 2 ? atoi(argv[2]) : 1; times > 0; times--) {
        const char *s = source;
        struct value *v = read_value(&s);
        struct output o = {0};
        print_value(&o, v);
        drop(v);
        if (first.p != NULL && (o.n != first.n || memcmp(o.p, first.p, o.n) != 0))
            fail(o.p);
        free(first.p);
        first = o;
    }
    fwrite(first.p, 1, first.n, stdout);
    free(first.p);
    free(source);
    return 0;
}
