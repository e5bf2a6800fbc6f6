/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Factors a number with bignums that live in the heap: bignum DECIMAL
 *
 * Every operation makes a new number and every number is freed as soon as it is used up, so there
 * are few live objects at a time, each of 8 to 48 bytes, and an allocation for some dozens of
 * instructions: what cfrac does.  The method is Pollard's rho with Floyd's cycle; the arithmetic is
 * what one learns at school, in base 2^32.  Prints a factor, which is checked by a division.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A natural number: digits in base 2^32, lowest first, the highest not 0. */
struct number {
    uint32_t n; /* digits */
    uint32_t d[];
};

static struct number *make(size_t n) {
    struct number *a = malloc(sizeof *a + n * sizeof a->d[0]);
    if (a == NULL)
        abort();
    a->n = (uint32_t)n;
    return a;
}

static struct number *trim(struct number *a) {
    while (a->n > 0 && a->d[a->n - 1] == 0)
        a->n--;
    return a;
}

static struct number *small(uint32_t x) {
    struct number *a = make(1);
    a->d[0] = x;
    return trim(a);
}

static struct number *copy(const struct number *a) {
    struct number *r = make(a->n);
    memcpy(r->d, a->d, a->n * sizeof a->d[0]);
    return r;
}

static int compare(const struct number *a, const struct number *b) {
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = a->n; i-- > 0;)
        if (a->d[i] != b->d[i])
            return a->d[i] < b->d[i] ? -1 : 1;
    return 0;
}

static struct number *add(const struct number *a, const struct number *b) {
    size_t n = (a->n > b->n ? a->n : b->n) + 1;
    struct number *r = make(n);
    uint64_t carry = 0;
    for (size_t i = 0; i < n; i++) {
        carry += (i < a->n ? a->d[i] : 0) + (uint64_t)(i < b->n ? b->d[i] : 0);
        r->d[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return trim(r);
}

/* a - b, where a >= b. */
static struct number *subtract(const struct number *a, const struct number *b) {
    struct number *r = make(a->n);
    int64_t borrow = 0;
    for (size_t i = 0; i < a->n; i++) {
        borrow += (int64_t)a->d[i] - (i < b->n ? b->d[i] : 0);
        r->d[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    return trim(r);
}

static struct number *multiply(const struct number *a, const struct number *b) {
    struct number *r = make(a->n + b->n);
    memset(r->d, 0, r->n * sizeof r->d[0]);
    for (size_t i = 0; i < a->n; i++) {
        uint64_t carry = 0;
        for (size_t k = 0; k < b->n; k++) {
            carry += (uint64_t)a->d[i] * b->d[k] + r->d[i + k];
            r->d[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        r->d[i + b->n] = (uint32_t)carry;
    }
    return trim(r);
}

static struct number *shift_left(const struct number *a, unsigned bits) {
    struct number *r = make(a->n + 1);
    uint64_t carry = 0;
    for (size_t i = 0; i <= a->n; i++) {
        carry |= (uint64_t)(i < a->n ? a->d[i] : 0) << bits;
        r->d[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return r; /* one digit more than a, even if that is 0 */
}

static struct number *shift_right(const struct number *a, unsigned bits) {
    struct number *r = make(a->n);
    for (size_t i = 0; i < a->n; i++)
        r->d[i] = (uint32_t)((i + 1 < a->n ? (uint64_t)a->d[i + 1] << 32 : 0) >> bits |
                             (uint64_t)a->d[i] >> bits);
    return trim(r);
}

/* Takes q * v from the digits of u that begin at u[at]; true if that was too much. */
static int take_away(struct number *u, const struct number *v, size_t nv, size_t at, uint64_t q) {
    int64_t borrow = 0;
    uint64_t carry = 0;
    for (size_t i = 0; i <= nv; i++) {
        carry += i < nv ? q * v->d[i] : 0;
        borrow += (int64_t)u->d[at + i] - (int64_t)(uint32_t)carry;
        u->d[at + i] = (uint32_t)borrow;
        borrow >>= 32;
        carry >>= 32;
    }
    return borrow < 0;
}

static void give_back(struct number *u, const struct number *v, size_t nv, size_t at) {
    uint64_t carry = 0;
    for (size_t i = 0; i <= nv; i++) {
        carry += (uint64_t)u->d[at + i] + (i < nv ? v->d[i] : 0);
        u->d[at + i] = (uint32_t)carry;
        carry >>= 32;
    }
}

/* a mod b.  The divisor is shifted so that its highest bit is set, which makes the guess of a
 * digit of the quotient, from the highest two of what is left, too large by two at most. */
static struct number *modulo(const struct number *a, const struct number *b) {
    if (compare(a, b) < 0)
        return copy(a);
    unsigned bits = (unsigned)__builtin_clz(b->d[b->n - 1]);
    struct number *v = shift_left(b, bits), *u = shift_left(a, bits);
    size_t nv = b->n;
    for (size_t at = u->n - nv; at-- > 0;) {
        uint64_t top = (uint64_t)u->d[at + nv] << 32 | u->d[at + nv - 1];
        uint64_t q = top / v->d[nv - 1];
        if (q > UINT32_MAX)
            q = UINT32_MAX;
        if (q != 0 && take_away(u, v, nv, at, q))
            do
                give_back(u, v, nv, at);
            while (u->d[at + nv] != 0);
    }
    trim(u);
    struct number *r = shift_right(u, bits);
    free(u);
    free(v);
    return r;
}

/* The greatest common divisor; a and b are used up. */
static struct number *common(struct number *a, struct number *b) {
    while (b->n != 0) {
        struct number *r = modulo(a, b);
        free(a);
        a = b;
        b = r;
    }
    free(b);
    return a;
}

/* x * x + c mod m; x is used up. */
static struct number *next(struct number *x, const struct number *c, const struct number *m) {
    struct number *square = multiply(x, x), *sum = add(square, c), *r = modulo(sum, m);
    free(x);
    free(square);
    free(sum);
    return r;
}

static struct number *difference(const struct number *a, const struct number *b) {
    return compare(a, b) < 0 ? subtract(b, a) : subtract(a, b);
}

static struct number *read_decimal(const char *s) {
    struct number *r = small(0), *ten = small(10);
    for (; *s >= '0' && *s <= '9'; s++) {
        struct number *product = multiply(r, ten), *digit = small((uint32_t)(*s - '0'));
        free(r);
        r = add(product, digit);
        free(product);
        free(digit);
    }
    free(ten);
    return r;
}

static struct number *factor(const struct number *m) {
    struct number *one = small(1), *x = small(2), *y = small(2), *d = small(1), *c = small(1);
    long steps = 0;
    for (; compare(d, one) == 0; steps++) {
        x = next(x, c, m);
        y = next(next(y, c, m), c, m);
        free(d);
        d = common(difference(x, y), copy(m));
    }
    free(one);
    free(x);
    free(y);
    free(c);
    fprintf(stderr, "%ld steps\n", steps);
    return d;
}

int main(int argc, char **argv) {
    struct number *m = read_decimal(argc > 1 ? argv[1] : "1000036000099");
    if (compare(m, &(struct number){0}) == 0)
        return 64;
    struct number *d = factor(m), *rest = modulo(m, d);
    int wrong = rest->n != 0 || compare(d, m) == 0;
    for (size_t i = d->n; i-- > 0;)
        printf("%08x", d->d[i]);
    printf("\n");
    free(rest);
    free(d);
    free(m);
    return wrong;
}
