/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Allocates in all ways that there are, and at all times that there are: what a recorder must count
 * to the object (counting.c).  counted single | threads | fork | fork_threads
 *
 * Before main (constructors), in main, in four threads that free each other's objects, in
 * destructors of thread-specific data and of thread-local objects, in handlers of atexit, in
 * destructors; in a forked child of one thread, or of a process that has others at work, which then
 * has threads of its own.  Each figure of the child is its parent's up to the fork, and its own.
 */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "check.h"

#define PLACE __attribute__((noinline)) static

namespace {

/* Keeps the compiler from knowing, merging or dropping calls. */
template <typename T> T *keep(T *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    CHECK(p != nullptr);
    return p;
}

PLACE void sizes() {
    for (size_t n = 0; n < 3000; n += 7) {
        void *p = keep(malloc(n));
        if (n % 3 != 0)
            free(p);
    }
}

PLACE void zeroed() {
    for (size_t n = 1; n < 200; n++) {
        void *p = keep(calloc(n, 24));
        if (n % 4 == 0)
            free(p);
    }
}

/* Chains: grown in place and moved, shrunk, from small to large and back, by one place or by two.
 */
PLACE void *grow(void *p, size_t n) {
    return keep(realloc(p, n));
}

PLACE void chains() {
    for (int chain = 0; chain < 20; chain++) {
        void *p = nullptr;
        for (size_t n = 1; n < 300000; n = n * 3 / 2 + 1)
            p = n % 2 != 0 ? grow(p, n) : keep(realloc(p, n));
        for (size_t n = 300000; n > 100; n /= 3)
            p = keep(reallocarray(p, n / 4, 4));
        if (chain % 2 != 0)
            free(p);
        else if (chain % 4 != 0)
            CHECK(realloc(p, 0) == nullptr);
    }
}

/* What can't be had leaves the object as it was. */
PLACE void refused() {
    volatile size_t too_much = (size_t)PTRDIFF_MAX + 100;
    void *p = keep(malloc(100));
    CHECK(realloc(p, too_much) == nullptr);
    CHECK(malloc(too_much) == nullptr);
    CHECK(calloc(too_much, 2) == nullptr);
    CHECK(::operator new(too_much, std::nothrow) == nullptr);
    try {
        keep(::operator new(too_much));
        CHECK(false);
    } catch (const std::bad_alloc &) {
    }
}

PLACE void aligned() {
    for (size_t align = 16; align <= 65536; align *= 2) {
        void *p = nullptr;
        CHECK(posix_memalign(&p, align, 3 * align + 5) == 0);
        keep(p);
        free(keep(aligned_alloc(align, align)));
        void *q = keep(memalign(align, 100));
        if (align % 3 == 1)
            free(q);
    }
    keep(valloc(5000));
}

PLACE void large() {
    std::vector<void *> held;
    for (size_t n = 30000; n < 5000000; n = n * 5 / 4) {
        held.push_back(keep(malloc(n)));
        keep(malloc(n / 2));
    }
    for (void *p : held)
        free(p);
}

PLACE void of_libc() {
    char *line = nullptr;
    size_t room = 0;
    char *text = nullptr;
    CHECK(asprintf(&text, "%0500d", 7) == 500);
    keep(strndup(text, 77));
    FILE *f = fmemopen(text, 500, "r");
    CHECK(f != nullptr);
    while (getline(&line, &room, f) > 0)
        continue;
    fclose(f);
    free(line);
    free(text);
    free(keep(strdup("a copy")));
    free(keep(realpath("/proc/self/exe", nullptr)));
    keep(strdup("another"));
}

struct alignas(256) wide {
    char bytes[512];
};

struct thrown {
    explicit thrown(int n) : text(100 + (size_t)n, 'x') {}
    std::string text;
};

PLACE void of_cxx() {
    std::map<int, std::string> names;
    for (int i = 0; i < 500; i++)
        names[i * 7919 % 1000] = std::string((size_t)i, 'n');
    names.erase(names.begin(), names.find(300));
    auto *lists = keep(new std::list<std::vector<int>>());
    for (int i = 0; i < 100; i++)
        lists->emplace_back((size_t)i);
    delete keep(new wide());
    delete[] keep(new wide[3]);
    keep(new wide());
    delete[] keep(new int[1000]);
    delete[] keep(new (std::nothrow) char[333]);
    keep(new (std::nothrow) char[444]);
    ::operator delete(keep(::operator new(77)), (size_t)77);
    for (int i = 0; i < 50; i++) {
        try {
            throw thrown(i);
        } catch (const thrown &t) {
            CHECK(t.text.size() == 100 + (size_t)i);
        }
    }
    static std::shared_ptr<std::string> shared = std::make_shared<std::string>(300, 's');
}

void everything() {
    sizes();
    zeroed();
    chains();
    refused();
    aligned();
    large();
    of_libc();
    of_cxx();
}

/* At times that are not main's. */
std::string *before_main = new std::string(1000, 'b');

__attribute__((constructor)) void construct() {
    keep(malloc(123));
    free(keep(malloc(321)));
}

__attribute__((destructor)) void destruct() {
    delete before_main;
    keep(malloc(234));
    free(keep(calloc(5, 100)));
}

void at_exit() {
    keep(malloc(345));
    sizes();
}

struct local {
    std::string text = std::string(200, 'l');
    ~local() {
        keep(malloc(456));
        free(keep(strdup(text.c_str())));
    }
};
thread_local local of_thread;

pthread_key_t key;

void of_key(void *p) {
    free(p);
    keep(malloc(567));
    static thread_local int again;
    if (again++ < 2)
        CHECK(pthread_setspecific(key, keep(malloc(678))) == 0);
}

/* Threads: each frees what another has put down. */
std::atomic<void *> table[256];
std::atomic<bool> forked;

void *work(void *arg) {
    uint32_t random = (uint32_t)(uintptr_t)arg;
    CHECK(pthread_setspecific(key, keep(malloc(789))) == 0);
    CHECK(of_thread.text.size() == 200);
    everything();
    for (int i = 0; i < 40000; i++) {
        uint32_t r = random_next(&random);
        void *p = r % 5 != 0 ? keep(malloc(r % 2000)) : nullptr;
        p = table[r % 256].exchange(p);
        if (r % 7 == 0 && p != nullptr)
            p = keep(realloc(p, r % 5000 + 1));
        free(p);
    }
    return nullptr;
}

void in_threads() {
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], nullptr, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(t[i], nullptr) == 0);
}

void *work_until_forked(void *arg) {
    while (!forked)
        work(arg);
    return nullptr;
}

/* The child goes on as its parent did: with figures, objects, and threads of its own. */
void in_child(bool threads) {
    pthread_t t[2];
    for (uintptr_t i = 0; threads && i < 2; i++)
        CHECK(pthread_create(&t[i], nullptr, work_until_forked, (void *)(i + 10)) == 0);
    everything();
    pid_t pid = fork();
    CHECK(pid >= 0);
    forked = true;
    everything();
    if (pid == 0) {
        for (auto &p : table)
            free(p.exchange(nullptr));
        if (threads)
            in_threads();
        exit(0);
    }
    for (int i = 0; threads && i < 2; i++)
        CHECK(pthread_join(t[i], nullptr) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 2);
    std::string how = argv[1];
    CHECK(pthread_key_create(&key, of_key) == 0);
    CHECK(pthread_setspecific(key, keep(malloc(890))) == 0);
    CHECK(of_thread.text.size() == 200);
    CHECK(atexit(at_exit) == 0);
    everything();
    if (how == "threads")
        in_threads();
    if (how == "fork" || how == "fork_threads")
        in_child(how == "fork_threads");
    return 0;
}
