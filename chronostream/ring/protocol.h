/* The ring's protocol in C11 atomics, by the numbered steps of docs/ring.md, for Linux. It does not use Python.
 *
 * A side is a few plain fields and a pointer into the segment; its caller keeps the memory mapped and checks every
 * argument. Offsets are those of layout.py; a test compares the two. */
#ifndef CHRONOSTREAM_PROTOCOL_H
#define CHRONOSTREAM_PROTOCOL_H

#include "copying.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A test defines this to kill a process between any two steps. */
#ifndef CS_STEP
#define CS_STEP(name)
#endif

enum {
    CS_LINE = 128,
    CS_STATE = 384,
    CS_ALWAYS_WAKE = 388,
    CS_CLAIM = 512,
    CS_HEAD = 640,
    CS_WAKE_SEQ = 768,
    CS_WAITING = 0, /* in the control region */
    CS_LIVE = 1,
    CS_CLOSED = 2,
};
#define CS_FREE_TAIL UINT64_MAX

/* Each attempt to read begins further ahead, where the producer takes longer to arrive. A registering consumer makes
 * many more attempts, which take a few nanoseconds each. */
enum { CS_ATTEMPTS = 4, CS_REGISTERING_ATTEMPTS = 64 };

typedef struct {
    cs_ring ring;
    uint64_t head, claim; /* copies: only this process writes them */
    bool always_wake;
} cs_writer;

typedef struct {
    cs_ring ring;
    unsigned char *line; /* in the table of registered consumers, or NULL */
    uint64_t position, lost;
} cs_reader;

static inline void cs_wake(const cs_writer *w)
{
    _Atomic uint32_t *word = cs_u32(w->ring.segment, CS_WAKE_SEQ);
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + 1, memory_order_release);
    CS_STEP("wake");
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static inline void cs_set_state(const cs_writer *w, uint32_t state)
{
    CS_STEP("state");
    atomic_store_explicit(cs_u32(w->ring.segment, CS_STATE), state, memory_order_release); /* X1, T3 */
    cs_full_fence();
    CS_STEP("state set");
    cs_wake(w);
}

static inline void cs_take_positions(cs_writer *w)
{
    w->head = atomic_load_explicit(cs_u64(w->ring.segment, CS_HEAD), memory_order_relaxed);
    w->claim = atomic_load_explicit(cs_u64(w->ring.segment, CS_CLAIM), memory_order_relaxed); /* T2 */
}

static inline void cs_open(cs_writer *w)
{
    cs_take_positions(w);
    atomic_store_explicit(cs_u32(w->ring.segment, CS_ALWAYS_WAKE), w->always_wake, memory_order_relaxed);
    cs_set_state(w, CS_LIVE);
}

static inline void cs_claim(cs_writer *w, uint64_t count)
{
    CS_STEP("P1");
    w->claim = cs_max(w->claim, w->head + count);
    atomic_store_explicit(cs_u64(w->ring.segment, CS_CLAIM), w->claim, memory_order_relaxed); /* P1 */
    CS_STEP("P2");
}

static inline void cs_commit(cs_writer *w, uint64_t count)
{
    CS_STEP("P3");
    w->head += count;
    atomic_store_explicit(cs_u64(w->ring.segment, CS_HEAD), w->head, memory_order_release); /* P3 */
    CS_STEP("P4");
    cs_full_fence(); /* P4 */
    if (w->always_wake) {
        cs_wake(w);
    } else if (atomic_load_explicit(cs_u32(w->ring.control, CS_WAITING), memory_order_relaxed)) {
        if (atomic_exchange_explicit(cs_u32(w->ring.control, CS_WAITING), 0, memory_order_relaxed))
            cs_wake(w);
    }
    CS_STEP("published");
}

/* Publish `count` <= capacity records of `size` bytes each: without padding, or with a whole slot's. */
static inline void cs_publish(cs_writer *w, const unsigned char *from, uint64_t count, uint64_t size)
{
    const uint64_t slot = w->head & (w->ring.capacity - 1);
    const uint64_t first = cs_min(count, w->ring.capacity - slot);
    cs_claim(w, count);
    cs_store_piece(&w->ring, slot, from, first, size);
    CS_STEP("P2 half");
    cs_store_piece(&w->ring, 0, from + first * size, count - first, size);
    cs_commit(w, count);
}

/* Find the registered consumer that is furthest behind and not overrun; false if there is none. */
static inline bool cs_slowest(const cs_writer *w, uint32_t *slot, uint64_t *tail)
{
    *tail = CS_FREE_TAIL;
    cs_full_fence(); /* O1 */
    const uint64_t oldest = w->head > w->ring.capacity + 1 ? w->head - w->ring.capacity - 1 : 0;
    for (uint32_t i = 0; i < w->ring.max_consumers; i++) {
        const uint64_t at = (uint64_t)CS_LINE + (uint64_t)i * CS_LINE;
        const uint64_t found = atomic_load_explicit(cs_u64(w->ring.control, at), memory_order_acquire); /* O2 */
        if (found >= oldest && found <= w->head && found < *tail) {
            *slot = i;
            *tail = found;
        }
    }
    return *tail != CS_FREE_TAIL;
}

static inline bool cs_may_offer(const cs_writer *w)
{
    uint32_t slot;
    uint64_t tail;
    return !cs_slowest(w, &slot, &tail) || w->head + 1 - tail <= w->ring.capacity;
}

static inline uint64_t cs_head(const cs_reader *r)
{
    return atomic_load_explicit(cs_u64(r->ring.segment, CS_HEAD), memory_order_acquire); /* C1 */
}

/* The oldest position that no claimed write overwrites. */
static inline uint64_t cs_oldest(const cs_reader *r)
{
    const uint64_t claim = atomic_load_explicit(cs_u64(r->ring.segment, CS_CLAIM), memory_order_relaxed); /* C3 */
    return claim > r->ring.capacity ? claim - r->ring.capacity : 0;
}

static inline bool cs_closed(const cs_reader *r)
{
    return atomic_load_explicit(cs_u32(r->ring.segment, CS_STATE), memory_order_acquire) == CS_CLOSED;
}

static inline uint64_t cs_first(const cs_reader *r, bool from_oldest)
{
    const uint64_t head = cs_head(r);
    return from_oldest ? cs_min(head, cs_oldest(r)) : head;
}

static inline void cs_store_tail(const cs_reader *r)
{
    if (r->line == NULL)
        return;
    atomic_store_explicit(cs_u64(r->line, 0), r->position, memory_order_release);
    atomic_store_explicit(cs_u64(r->line, CS_WORD), r->lost, memory_order_release);
}

static inline void cs_begin(cs_reader *r, bool from_oldest)
{
    r->position = cs_first(r, from_oldest); /* R1 */
    if (r->line == NULL)
        return;
    for (int attempt = 0; attempt < CS_REGISTERING_ATTEMPTS; attempt++) {
        CS_STEP("R2");
        cs_store_tail(r); /* R2 */
        cs_full_fence();
        CS_STEP("R3");
        if (cs_oldest(r) <= r->position) /* R3 */
            break;
        r->position = cs_first(r, from_oldest);
    }
    if (!from_oldest)
        r->position = cs_head(r);
    CS_STEP("R4");
    cs_store_tail(r); /* R4 */
    CS_STEP("registered");
}

static inline void cs_leave(const cs_reader *r)
{
    if (r->line != NULL)
        atomic_store_explicit(cs_u64(r->line, 0), CS_FREE_TAIL, memory_order_release);
}

static inline void cs_pass_over(cs_reader *r, uint64_t position)
{
    r->lost += position - r->position;
    r->position = position;
}

/* The result of a copy: the head, how many records to skip, and how many good ones follow. */
typedef struct {
    uint64_t began, head, skip, good;
} cs_copied;

/* Copy up to `room` records to `out`, and move past the lost ones. cs_take moves past the good ones later, when nothing
 * can fail any more. False if the head is before the position, which is damage. */
static inline bool cs_copy(cs_reader *r, unsigned char *out, uint64_t room, cs_copied *found)
{
    const uint64_t capacity = r->ring.capacity;
    *found = (cs_copied){.began = r->position};
    for (int attempt = 0; attempt < CS_ATTEMPTS; attempt++) {
        const uint64_t head = found->head = cs_head(r); /* C1 */
        if (head < r->position)
            return false;
        const uint64_t ahead = capacity - (capacity >> attempt);
        cs_pass_over(r, cs_min(head, cs_max(r->position, cs_oldest(r) + ahead)));
        const uint64_t first = r->position;
        const uint64_t count = cs_min(head - first, cs_min(room, capacity));
        const uint64_t slot = first & (capacity - 1);
        const uint64_t piece = cs_min(count, capacity - slot);
        CS_STEP("C2");
        cs_load_piece(&r->ring, slot, out, piece); /* C2 */
        CS_STEP("C2 half");
        cs_load_piece(&r->ring, 0, out + piece * r->ring.item_size, count - piece);
        CS_STEP("C3");
        const uint64_t end = first + count;
        const uint64_t from = cs_min(cs_max(first, cs_oldest(r)), end); /* C3 */
        cs_pass_over(r, from);                                          /* C4 */
        if (end != from || count == 0) {
            found->skip = from - first;
            found->good = end - from;
            break;
        }
    }
    return true;
}

/* Move past the good records of a copy. */
static inline void cs_take(cs_reader *r, const cs_copied *found)
{
    CS_STEP("C5");
    r->position += found->good;
    if (r->position != found->began)
        cs_store_tail(r); /* C5 */
    CS_STEP("read");
}

/* Pass over overwritten records; return how many of at most `room` records can be read in one piece. */
static inline uint64_t cs_peek(cs_reader *r, uint64_t room)
{
    const uint64_t head = cs_head(r), slot_mask = r->ring.capacity - 1;
    if (head < r->position)
        return 0;
    cs_pass_over(r, cs_min(head, cs_max(r->position, cs_oldest(r))));
    return cs_min(cs_min(head - r->position, room), r->ring.capacity - (r->position & slot_mask));
}

/* Move past `count` records that were read in place; return how many of them were overwritten meanwhile. */
static inline uint64_t cs_end_peek(cs_reader *r, uint64_t count)
{
    atomic_thread_fence(memory_order_acquire); /* The caller's own loads were plain ones. */
    const uint64_t first = r->position, end = first + count;
    const uint64_t from = cs_min(cs_max(first, cs_oldest(r)), end); /* C3 */
    cs_pass_over(r, from);                                          /* C4 */
    r->position = end;
    cs_store_tail(r); /* C5 */
    return from - first;
}

typedef enum { CS_READY, CS_ENDED, CS_TIMED_OUT, CS_INTERRUPTED } cs_outcome;
enum { CS_SHORTEST_NAP_NS = 50000, CS_LONGEST_NAP_NS = 1000000 };
typedef enum { CS_BUSY_SPIN, CS_YIELDING, CS_SLEEPING, CS_BLOCKING } cs_idle;

/* One wait, over several calls of cs_wait. Besides the clock it counts sleeps and processor time, because a test may
 * have stopped the clock. */
typedef struct {
    cs_idle idle;
    int64_t timeout_ns, began_ns, counted_ns, processor_ns, nap_ns;
} cs_waiting;

static inline int64_t cs_clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t cs_now_ns(void) { return cs_clock_ns(CLOCK_MONOTONIC); }

static inline cs_waiting cs_begin_waiting(cs_idle idle, int64_t timeout_ns)
{
    return (cs_waiting){
        .idle = idle, .timeout_ns = timeout_ns, .began_ns = cs_now_ns(), .nap_ns = CS_SHORTEST_NAP_NS};
}

/* Count the processor time since the last call. The first call only begins: short waits do not need the time. */
static inline void cs_count_processor(cs_waiting *w)
{
    const int64_t now_ns = cs_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    w->counted_ns += w->processor_ns == 0 ? 0 : now_ns - w->processor_ns;
    w->processor_ns = now_ns;
}

static inline void cs_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline void cs_nap(cs_waiting *w, int64_t left_ns)
{
    const int64_t ns = w->nap_ns < left_ns ? w->nap_ns : left_ns;
    const struct timespec duration = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (nanosleep(&duration, NULL) == 0)
        w->counted_ns += ns;
    w->nap_ns = w->nap_ns < CS_LONGEST_NAP_NS / 2 ? w->nap_ns * 2 : CS_LONGEST_NAP_NS;
}

/* Raise the waiting flag; true if there is nothing to read and the stream is live: then sleep while the futex word is
 * `*wake_seq`. */
static inline bool cs_prepare_to_wait(const cs_reader *r, uint32_t *wake_seq)
{
    CS_STEP("W1");
    const uint64_t head = cs_head(r);
    *wake_seq = atomic_load_explicit(cs_u32(r->ring.segment, CS_WAKE_SEQ), memory_order_acquire); /* W1 */
    CS_STEP("W2");
    if (r->ring.control != NULL)
        atomic_store_explicit(cs_u32(r->ring.control, CS_WAITING), 1, memory_order_relaxed);
    cs_full_fence(); /* W2 */
    CS_STEP("W3");
    return head == r->position && cs_head(r) == head && !cs_closed(r); /* W3 */
}

/* Sleep once by the waiting protocol, for `ns` at most; false if no producer would wake this process. */
static inline bool cs_block(const cs_reader *r, cs_waiting *w, int64_t ns)
{
    const struct timespec duration = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    uint32_t wake_seq;
    const bool idle = cs_prepare_to_wait(r, &wake_seq);
    /* After W1: a takeover by a producer that does not always wake changes `wake_seq`, too. */
    if (r->ring.control == NULL &&
        !atomic_load_explicit(cs_u32(r->ring.segment, CS_ALWAYS_WAKE), memory_order_relaxed))
        return false;
    if (idle &&
        syscall(SYS_futex, cs_u32(r->ring.segment, CS_WAKE_SEQ), FUTEX_WAIT, wake_seq, &duration, NULL, 0) < 0 &&
        errno == ETIMEDOUT)
        w->counted_ns += ns;
    CS_STEP("woken");
    return true;
}

/* Wait until there is something to read, the stream is closed, or the time is up. It also returns after a sleep on the
 * futex, and every few milliseconds otherwise, so that the caller can handle signals. */
static inline cs_outcome cs_wait(const cs_reader *r, cs_waiting *w)
{
    enum { SPIN_NS = 5000000, MOST_TURNS = 10000, SPIN_BEFORE_BLOCKING_NS = 10000, TURNS_BEFORE_BLOCKING = 500 };
    const int64_t entered_ns = cs_now_ns();
    int64_t now_ns = entered_ns;
    for (int turn = 0;; turn++, now_ns = cs_now_ns()) {
        if (cs_head(r) != r->position)
            return CS_READY;
        if (cs_closed(r))
            return cs_head(r) != r->position ? CS_READY : CS_ENDED; /* X2 */
        const int64_t looked_up_ns = now_ns - w->began_ns;
        const int64_t left_ns = w->timeout_ns - (looked_up_ns > w->counted_ns ? looked_up_ns : w->counted_ns);
        if (left_ns <= 0)
            return CS_TIMED_OUT;
        const int64_t spun_ns = now_ns - entered_ns;
        if (spun_ns >= SPIN_NS || turn >= MOST_TURNS) {
            cs_count_processor(w);
            return CS_INTERRUPTED;
        }
        if (w->idle == CS_BUSY_SPIN) {
            for (int i = 0; i < 64 && cs_head(r) == r->position; i++)
                cs_pause();
        } else if (w->idle == CS_YIELDING) {
            sched_yield();
        } else if (w->idle == CS_BLOCKING && spun_ns < SPIN_BEFORE_BLOCKING_NS && turn < TURNS_BEFORE_BLOCKING) {
            cs_pause();
        } else if (w->idle == CS_BLOCKING && cs_block(r, w, left_ns)) {
            return cs_head(r) != r->position ? CS_READY : CS_INTERRUPTED;
        } else {
            cs_nap(w, left_ns);
        }
    }
}

#endif
