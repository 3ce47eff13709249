/* The memory of a ring: its atomics and fences, and copies of records into it (P2) and out of it (C2). */
#ifndef CHRONOSTREAM_COPYING_H
#define CHRONOSTREAM_COPYING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a segment is little-endian: no core runs on this machine");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
               "a lock behind an atomic is not shared by processes: no core runs on this machine");
_Static_assert(sizeof(_Atomic uint32_t) == 4 && sizeof(_Atomic uint64_t) == 8, "atomics are as wide as their fields");

enum { CS_WORD = 8 };

typedef struct {
    unsigned char *segment;
    unsigned char *control; /* writable, or NULL if this process may only read */
    unsigned char *records;
    uint64_t capacity;
    uint64_t slot_size; /* a multiple of CS_WORD */
    uint64_t item_size; /* of a record without the slot's padding */
    uint32_t max_consumers;
} cs_ring;

static inline _Atomic uint64_t *cs_u64(unsigned char *base, uint64_t offset)
{
    return (_Atomic uint64_t *)(void *)(base + offset);
}

static inline _Atomic uint32_t *cs_u32(unsigned char *base, uint64_t offset)
{
    return (_Atomic uint32_t *)(void *)(base + offset);
}

static inline uint64_t cs_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t cs_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

static inline void cs_full_fence(void)
{
#if defined(__SANITIZE_THREAD__)
    /* ThreadSanitizer does not support fences; if all threads modify one word, that orders as much. */
    static _Atomic int word;
    atomic_fetch_add(&word, 1);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_THREAD__)
/* x86-64 keeps all stores, and all loads, in program order, whatever their width: a pair of words is as correct as two
 * release stores or acquire loads, and twice as fast. `volatile` makes the compiler keep the same order. */
typedef long long cs_pair __attribute__((vector_size(16), aligned(8), may_alias));
typedef long long cs_loose_pair __attribute__((vector_size(16), aligned(1), may_alias));
#define CS_PAIRS 1

/* From this many words on, the C library's copy is faster still. It may bypass the caches, by stores without any order:
 * hence a fence before and after. The order of its own words does not matter to any step. */
enum { CS_LONG_WORDS = 512 };

static inline void cs_copy_long(void *to, const void *from, uint64_t words)
{
    atomic_signal_fence(memory_order_seq_cst);
    __builtin_ia32_sfence();
    memcpy(to, from, words * CS_WORD);
    __builtin_ia32_sfence();
    __builtin_ia32_lfence(); /* Later loads, such as that of claim, come after the copy. */
    atomic_signal_fence(memory_order_seq_cst);
}
#else
#define CS_PAIRS 0
#endif

/* Copy words into the ring, each with a release store. The source needs no alignment. */
static inline void cs_store_words(unsigned char *to, const unsigned char *from, uint64_t words)
{
    uint64_t i = 0;
#if CS_PAIRS
    if (words >= CS_LONG_WORDS) {
        cs_copy_long(to, from, words);
        return;
    }
    atomic_signal_fence(memory_order_seq_cst);
    for (; i + 2 <= words; i += 2)
        *(volatile cs_pair *)(void *)(to + i * CS_WORD) = *(const cs_loose_pair *)(const void *)(from + i * CS_WORD);
    atomic_signal_fence(memory_order_seq_cst);
#endif
    for (; i < words; i++) {
        uint64_t word;
        memcpy(&word, from + i * CS_WORD, CS_WORD);
        atomic_store_explicit(cs_u64(to, i * CS_WORD), word, memory_order_release);
    }
}

/* Copy words out of the ring, each with an acquire load. */
static inline void cs_load_words(unsigned char *to, unsigned char *from, uint64_t words)
{
    uint64_t i = 0;
#if CS_PAIRS
    if (words >= CS_LONG_WORDS) {
        cs_copy_long(to, from, words);
        return;
    }
    atomic_signal_fence(memory_order_seq_cst);
    for (; i + 2 <= words; i += 2)
        *(cs_loose_pair *)(void *)(to + i * CS_WORD) = *(volatile cs_pair *)(void *)(from + i * CS_WORD);
    atomic_signal_fence(memory_order_seq_cst);
#endif
    for (; i < words; i++) {
        uint64_t word = atomic_load_explicit(cs_u64(from, i * CS_WORD), memory_order_acquire);
        memcpy(to + i * CS_WORD, &word, CS_WORD);
    }
}

/* P2 for `count` records from `slot` on, which do not wrap; `size` bytes each, with the slots' padding or without. */
static inline void cs_store_piece(const cs_ring *ring, uint64_t slot, const unsigned char *from, uint64_t count,
                                  uint64_t size)
{
    unsigned char *to = ring->records + slot * ring->slot_size;
    if (size == ring->slot_size) {
        cs_store_words(to, from, count * (size / CS_WORD));
        return;
    }
    const uint64_t whole = size / CS_WORD, rest = size % CS_WORD;
    for (; count > 0; count--, to += ring->slot_size, from += size) {
        uint64_t last = 0;
        cs_store_words(to, from, whole);
        memcpy(&last, from + whole * CS_WORD, rest);
        if (rest)
            atomic_store_explicit(cs_u64(to, whole * CS_WORD), last, memory_order_release);
    }
}

/* C2 for `count` records from `slot` on, which do not wrap; without the slots' padding. */
static inline void cs_load_piece(const cs_ring *ring, uint64_t slot, unsigned char *to, uint64_t count)
{
    unsigned char *from = ring->records + slot * ring->slot_size;
    if (ring->item_size == ring->slot_size) {
        cs_load_words(to, from, count * (ring->item_size / CS_WORD));
        return;
    }
    const uint64_t whole = ring->item_size / CS_WORD, rest = ring->item_size % CS_WORD;
    for (; count > 0; count--, from += ring->slot_size, to += ring->item_size) {
        cs_load_words(to, from, whole);
        const uint64_t last = atomic_load_explicit(cs_u64(from, whole * CS_WORD), memory_order_acquire);
        memcpy(to + whole * CS_WORD, &last, rest);
    }
}

#endif
