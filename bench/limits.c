/* Measures the limits of the machine, which bench/ prints beside its contenders.
 *
 *   limits memcpy FILL|DRAIN BYTES RING REPEATS   ns per copy of BYTES into (out of) a ring of RING bytes
 *   limits line CORE CORE COUNT                   ns one way of a cache line between two spinning processes
 *   limits futex CORE CORE COUNT PERIOD_NS        ns from a store and FUTEX_WAKE to the sleeper's next instruction
 *   limits timer COUNT PERIOD_NS                  ns that a timerfd on CLOCK_REALTIME is late, at multiples of PERIOD_NS
 *
 * It prints one number per line. A process is not pinned if its core is below zero.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
    _Alignas(128) _Atomic uint32_t word;
    _Alignas(128) _Atomic uint32_t answer;
    _Alignas(128) _Atomic int64_t stamp;
};

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void pin(int core) {
    if (core < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
}

static void *map(int file, size_t size) { /* anonymous if file is below zero */
    int flags = MAP_SHARED | MAP_POPULATE | (file < 0 ? MAP_ANONYMOUS : 0);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, 0);
    if (memory == MAP_FAILED) fail("mmap");
    return memory;
}

static pid_t fork_child(void) {
    pid_t parent = getpid(), child = fork();
    if (child < 0) fail("fork");
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
    }
    return child;
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value) {
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

/* The ring is filled through one mapping and drained through another, as by a producer and a consumer: the cost of a
 * cache line depends strongly on the address that was last used for it. */
static void do_memcpy(int fill, size_t bytes, size_t ring, long repeats) {
    int memory = memfd_create("limits", 0);
    if (memory < 0 || ftruncate(memory, (off_t)ring)) fail("memfd_create");
    char *batch = map(-1, bytes), *filled = map(memory, ring), *drained = map(memory, ring);
    size_t copies = ring / bytes;
    memset(batch, 1, bytes);
    for (long repeat = -repeats / 4; repeat < repeats; repeat++) { /* the first ones warm up */
        int64_t start = now(CLOCK_MONOTONIC);
        for (size_t copy = 0; copy < copies; copy++) {
            memcpy(filled + copy * bytes, batch, bytes);
            __asm__ volatile("" ::: "memory");
        }
        int64_t full = now(CLOCK_MONOTONIC);
        for (size_t copy = 0; copy < copies; copy++) {
            memcpy(batch, drained + copy * bytes, bytes);
            __asm__ volatile("" ::: "memory");
        }
        int64_t empty = now(CLOCK_MONOTONIC);
        if (repeat >= 0) printf("%.3f\n", (double)(fill ? full - start : empty - full) / (double)copies);
    }
}

static void do_line(int ours, int theirs, long count) {
    struct shared *shared = map(-1, sizeof *shared);
    if (!fork_child()) {
        pin(theirs);
        for (uint32_t turn = 1; turn <= count; turn++) {
            while (atomic_load_explicit(&shared->word, memory_order_acquire) != turn) {}
            atomic_store_explicit(&shared->answer, turn, memory_order_release);
        }
        _exit(0);
    }
    pin(ours);
    for (uint32_t turn = 1; turn <= count; turn++) {
        int64_t start = now(CLOCK_MONOTONIC);
        atomic_store_explicit(&shared->word, turn, memory_order_release);
        while (atomic_load_explicit(&shared->answer, memory_order_acquire) != turn) {}
        printf("%.1f\n", (double)(now(CLOCK_MONOTONIC) - start) / 2);
    }
    wait(NULL);
}

static void do_futex(int ours, int theirs, long count, int64_t period) {
    struct shared *shared = map(-1, sizeof *shared);
    if (!fork_child()) {
        pin(theirs);
        for (uint32_t turn = 0; turn < count; turn++) {
            while (atomic_load_explicit(&shared->word, memory_order_acquire) == turn) {
                futex(&shared->word, FUTEX_WAIT, turn);
            }
            int64_t woken = now(CLOCK_MONOTONIC);
            printf("%lld\n", (long long)(woken - atomic_load(&shared->stamp)));
            atomic_store_explicit(&shared->answer, turn + 1, memory_order_release);
        }
        fflush(stdout);
        _exit(0);
    }
    pin(ours);
    struct timespec pause = {period / 1000000000, period % 1000000000};
    for (uint32_t turn = 0; turn < count; turn++) {
        nanosleep(&pause, NULL);
        while (atomic_load_explicit(&shared->answer, memory_order_acquire) != turn) sched_yield();
        atomic_store(&shared->stamp, now(CLOCK_MONOTONIC));
        atomic_store_explicit(&shared->word, turn + 1, memory_order_release);
        futex(&shared->word, FUTEX_WAKE, INT32_MAX);
    }
    wait(NULL);
}

static void do_timer(long count, int64_t period) {
    int timer = timerfd_create(CLOCK_REALTIME, 0);
    if (timer < 0) fail("timerfd_create");
    for (long tick = 0; tick < count; tick++) {
        int64_t due = (now(CLOCK_REALTIME) / period + 1) * period;
        struct itimerspec spec = {{0, 0}, {due / 1000000000, due % 1000000000}};
        uint64_t expirations;
        if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL)) fail("timerfd_settime");
        if (read(timer, &expirations, sizeof expirations) < 0) fail("read");
        printf("%lld\n", (long long)(now(CLOCK_REALTIME) - due));
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!strcmp(what, "memcpy") && argc == 6) {
        do_memcpy(!strcmp(argv[2], "FILL"), strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10), atol(argv[5]));
    } else if (!strcmp(what, "line") && argc == 5) {
        do_line(atoi(argv[2]), atoi(argv[3]), atol(argv[4]));
    } else if (!strcmp(what, "futex") && argc == 6) {
        do_futex(atoi(argv[2]), atoi(argv[3]), atol(argv[4]), atoll(argv[5]));
    } else if (!strcmp(what, "timer") && argc == 4) {
        do_timer(atol(argv[2]), atoll(argv[3]));
    } else {
        fprintf(stderr, "usage: see the top of limits.c\n");
        return 2;
    }
    return 0;
}
