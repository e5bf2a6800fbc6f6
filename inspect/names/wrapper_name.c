/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names of functions without what tells instances of a template, or overloads, apart:
 *
 *      void std::vector<int, std::allocator<int> >::emplace_back<int>(int&&)
 *                                                        std::vector::emplace_back
 *      <alloc::string::String as core::clone::Clone>::clone
 *                                                        alloc::string::String::clone
 *      operator new[](unsigned long)                     operator new[]
 *      xmalloc.part.0                                    xmalloc
 *      __GI___strdup (a name within glibc)               __strdup
 *
 * It is a walk over the characters that knows brackets, and "operator", after which brackets may be
 * part of the name.  A name that it does not understand comes out odd, and matches no pattern.
 */
#include <ctype.h>
#include <string.h>

#include "names/wrapper.h"

struct plain {
    const char *at; /* not read yet */
    char *buf;
    size_t n, size; /* used, and room for, with the terminator */
};

static bool identifies(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static void put(struct plain *p, const char *s, size_t n) {
    if (n > p->size - 1 - p->n)
        n = p->size - 1 - p->n;
    memcpy(p->buf + p->n, s, n);
    p->n += n;
    p->buf[p->n] = '\0';
}

/* group returns the length of the bracketed text at s, brackets included; of all that is left if
 * it does not end. */
static size_t group(const char *s) {
    size_t depth = 0, i = 0;
    for (; s[i]; i++) {
        if (strchr("<({[", s[i]))
            depth++;
        else if (strchr(")}]", s[i]) || (s[i] == '>' && i && s[i - 1] != '-'))
            if (--depth == 0)
                return i + 1;
    }
    return i;
}

static bool begins(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* symbols returns the length of the operator at s: "<<=" and the like, or one character. */
static size_t symbols(const char *s) {
    static const char *const operators[] = {
        "<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++",
        "--",  "+=",  "-=",  "*=",  "/=", "%=", "^=", "&=", "|=", "->", "()", "[]"};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (begins(s, operators[i]))
            return strlen(operators[i]);
    return *s && strchr("<>=!+-*/%^&|~,", *s) ? 1 : 0;
}

/* take_operator copies "operator" and what belongs to it. */
static void take_operator(struct plain *p) {
    size_t n = strlen("operator");
    if (p->at[n] == ' ') {
        for (n++; identifies(p->at[n]) || p->at[n] == ':';)
            n++;
        if (begins(p->at + n, "[]"))
            n += 2;
    } else
        n += symbols(p->at + n);
    put(p, p->at, n);
    p->at += n;
}

/* take_word copies an identifier, or "operator" with its own. */
static void take_word(struct plain *p) {
    size_t n = 0;
    if (begins(p->at, "operator") && !identifies(p->at[strlen("operator")])) {
        take_operator(p);
        return;
    }
    while (identifies(p->at[n]))
        n++;
    put(p, p->at, n);
    p->at += n;
}

/* take_round copies "(anonymous namespace)"; parameters of an outer function are left out, those of
 * the function itself end the name: false. */
static bool take_round(struct plain *p) {
    size_t n = group(p->at);
    if (begins(p->at, "(anonymous namespace)"))
        put(p, p->at, n);
    else if (!begins(p->at + n, "::") && !begins(p->at + n, " const::"))
        return false;
    p->at += n;
    if (begins(p->at, " const::"))
        p->at += strlen(" const");
    return true;
}

/* is_suffix says whether a compiler put what begins at s after the name. */
static bool is_suffix(const char *s) {
    static const char *const suffixes[] = {".part.", ".constprop.", ".isra.",
                                           ".cold",  ".lto_priv.",  ".llvm."};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (begins(s, suffixes[i]))
            return true;
    return begins(s, " [clone");
}

/* take reads on; false at the end of the name. */
static bool take(struct plain *p) {
    char c = p->at[0];
    if (c == '\0' || is_suffix(p->at))
        return false;
    if (identifies(c)) {
        take_word(p);
        return true;
    }
    if (c == '(')
        return take_round(p);
    if (c == '<') {
        p->at += group(p->at);
        return true;
    }
    if (c == '{') {
        size_t n = group(p->at);
        put(p, p->at, n);
        p->at += n;
        return true;
    }
    if (c == ' ' && p->at[1] != '<') /* operator<< <int> */
        p->n = 0;                    /* that was the return type */
    else if (c != ' ')
        put(p, p->at, 1);
    p->at++;
    return true;
}

/* begin_rust begins with the type of "<TYPE as TRAIT>::function", and leaves at after it. */
static void begin_rust(struct plain *p) {
    size_t n = group(p->at), length = n > 2 ? n - 2 : 0;
    char type[1024], name[1024];
    if (length >= sizeof type)
        length = sizeof type - 1;
    memcpy(type, p->at + 1, length);
    type[length] = '\0';
    size_t end = 0;
    while (type[end] && !begins(type + end, " as "))
        end += type[end] == '<' ? group(type + end) : 1;
    type[end] = '\0';
    const char *plain = wrapper_plain_name(type + strspn(type, "&* "), name, sizeof name);
    put(p, plain, strlen(plain));
    p->at += n;
}

char *wrapper_plain_name(const char *function, char *buf, size_t size) {
    struct plain p = {.at = function, .buf = buf, .size = size};
    buf[0] = '\0';
    if (begins(function, "__GI_"))
        p.at += strlen("__GI_");
    if (function[0] == '<' && function[1] != '<')
        begin_rust(&p);
    while (take(&p))
        continue;
    buf[p.n] = '\0';
    return buf;
}
