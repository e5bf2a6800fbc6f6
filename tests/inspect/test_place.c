/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a process's socket is, when the process has just begun: this test is the process, and makes
 * the socket itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#undef fail /* of cmocka: goinspect has another one */
#include "target/place.h"

static char folder[] = "/tmp/place-test.XXXXXX";
static struct proc self;
static _Atomic bool searched; /* in vain, or to the end */
static pid_t searcher;

/* Its own folder for sockets, and a mapping by which it is said to run under the library. */
static int set_up(void **state) {
    char path[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/libgomalloc.so", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_ptr_not_equal(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), MAP_FAILED);
    close(fd);
    unlink(path);
    setenv("GOMALLOC_DIR", folder, 1);
    assert_int_equal(proc_read(getpid(), &self), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(folder);
}

static void socket_path(char *buf, size_t size) {
    snprintf(buf, size, "%s/%d.sock", folder, (int)self.ns_pid);
}

static bool searcher_sleeps(void) {
    struct proc thread;
    return proc_read(searcher, &thread) == 0 && thread.state == 'S';
}

/* The socket comes when it has been searched for in vain. */
static void *make_socket_late(void *arg) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)arg;
    while (!searcher_sleeps() && !atomic_load(&searched))
        usleep(1000);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    socket_path(a.sun_path, sizeof a.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    return (void *)(intptr_t)fd;
}

static void the_socket_of_a_young_process_is_waited_for(void **state) {
    const double long_enough = 1e6; /* seconds */
    struct failure failure;
    struct place place;
    char path[96];
    pthread_t t;
    void *fd;
    (void)state;
    searcher = gettid();
    assert_int_equal(pthread_create(&t, NULL, make_socket_late, NULL), 0);
    enum status status = place_find(&self, long_enough, &place, &failure);
    atomic_store(&searched, true);
    pthread_join(t, &fd);
    close((int)(intptr_t)fd);
    socket_path(path, sizeof path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(status, STATUS_DONE);
    assert_string_equal(place.path, path);
    close(place.dir);
}

static void that_of_an_older_one_is_not(void **state) {
    struct failure failure;
    struct place place;
    (void)state;
    while (proc_age(self.pid) < 0.1)
        usleep(1000);
    assert_int_equal(place_find(&self, 0.1, &place, &failure), STATUS_NO_TARGET);
    assert_non_null(strstr(failure.text, "has no socket"));
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void age_is_since_the_process_was_made(void **state) {
    const double tick = 0.011;
    (void)state;
    double begin = now();
    pid_t child = fork();
    if (child == 0)
        pause();
    double before = now(), age = proc_age(child);
    kill(child, SIGKILL);
    assert_in_range((uint64_t)(1e9 * age), 0, (uint64_t)(1e9 * (now() - begin + tick)));
    assert_true(proc_age(self.pid) >= before - begin);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(proc_age(child) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_socket_of_a_young_process_is_waited_for),
        cmocka_unit_test(that_of_an_older_one_is_not),
        cmocka_unit_test(age_is_since_the_process_was_made),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
