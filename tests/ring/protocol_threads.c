/* The protocol between threads, for ThreadSanitizer: one producer, unthrottled, and three consumers of each kind.
 *
 * Each record says its position twice, once inverted, in a ring so small that most of them are overwritten before they
 * are read. What is returned must be whole, in order and the right one, and the losses must add up. Half-way, the
 * producer is replaced by another one, as after a crash: with a claim that was never published.
 */
#include "protocol.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { CAPACITY = 4, CONSUMERS = 3, SLOT = 24, ITEM = 20, RECORDS_OFFSET = 2048, CONTROL_OFFSET = 1024 };

static _Alignas(128) unsigned char segment[RECORDS_OFFSET + CAPACITY * SLOT];
static uint64_t total;

static const cs_ring ring = {
    .segment = segment,
    .control = segment + CONTROL_OFFSET,
    .records = segment + RECORDS_OFFSET,
    .capacity = CAPACITY,
    .slot_size = SLOT,
    .item_size = ITEM,
    .max_consumers = CONSUMERS,
};

static void fail(const char *what, uint64_t found, uint64_t expected)
{
    fprintf(stderr, "%s: %llu, expected %llu\n", what, (unsigned long long)found, (unsigned long long)expected);
    exit(1);
}

static void *produce(void *unused)
{
    unsigned char batch[CAPACITY * ITEM];
    cs_writer writer = {.ring = ring};
    cs_open(&writer);
    for (uint64_t left = total; left > 0;) {
        const uint64_t count = cs_min(left, 1 + writer.head % CAPACITY);
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t values[2] = {writer.head + i, ~(writer.head + i)};
            memcpy(batch + i * ITEM, values, sizeof values);
            memset(batch + i * ITEM + sizeof values, (int)(writer.head + i) & 0xFF, ITEM - sizeof values);
        }
        if (left == total / 2) {
            cs_claim(&writer, count); /* and died: the next one finds the claim as it is */
            cs_writer next = {.ring = ring};
            cs_open(&next);
            writer = next;
        }
        if (writer.head % 3 != 0 || cs_may_offer(&writer) || count > 1) {
            cs_publish(&writer, batch, count, ITEM);
            left -= count;
        }
        if (writer.head % 5 == 0)
            sched_yield();
    }
    cs_set_state(&writer, CS_CLOSED);
    return unused;
}

static void *consume(void *number)
{
    const size_t place = (size_t)number;
    unsigned char out[CAPACITY * ITEM];
    cs_reader reader = {.ring = ring, .line = place == 0 ? NULL : ring.control + CS_LINE * (1 + place)};
    uint64_t received = 0, expected;
    cs_begin(&reader, place != 2);
    const uint64_t start = reader.position;
    expected = start;
    for (;;) {
        cs_waiting waiting = cs_begin_waiting(place == 1 ? CS_YIELDING : CS_BLOCKING, 100000000);
        const cs_outcome outcome = cs_wait(&reader, &waiting);
        if (outcome == CS_ENDED)
            break;
        cs_copied found;
        if (!cs_copy(&reader, out, 1 + reader.position % CAPACITY, &found))
            fail("head", found.head, reader.position);
        for (uint64_t i = 0; i < found.good; i++) {
            uint64_t values[2];
            const unsigned char *record = out + (found.skip + i) * ITEM;
            memcpy(values, record, sizeof values);
            if (values[0] != reader.position + i)
                fail("position", values[0], reader.position + i);
            if (values[1] != ~values[0] || record[ITEM - 1] != (unsigned char)values[0] ||
                record[ITEM - 2] != (unsigned char)values[0])
                fail("torn record", values[0], values[1]);
            if (values[0] < expected)
                fail("repeated record", values[0], expected);
            expected = values[0] + 1;
        }
        cs_take(&reader, &found);
        received += found.good;
    }
    if (received + reader.lost != total - start)
        fail("received and lost", received + reader.lost, total - start);
    printf("consumer %zu: %llu received, %llu lost\n", place, (unsigned long long)received,
           (unsigned long long)reader.lost);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t producer, consumers[CONSUMERS];
    total = count > 1 ? strtoull(arguments[1], NULL, 10) : 100000;
    for (uint32_t i = 0; i < CONSUMERS; i++)
        atomic_store(cs_u64(ring.control, (uint64_t)CS_LINE * (1 + i)), CS_FREE_TAIL);
    for (size_t i = 0; i < CONSUMERS; i++)
        pthread_create(&consumers[i], NULL, consume, (void *)i);
    pthread_create(&producer, NULL, produce, NULL);
    pthread_join(producer, NULL);
    for (size_t i = 0; i < CONSUMERS; i++)
        pthread_join(consumers[i], NULL);
    return 0;
}
