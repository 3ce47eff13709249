/* A reader that may only read falls asleep while the next producer takes over, which does not wake always.
 *
 * The argument is the step before which the takeover comes. Nobody will wake the reader afterwards: it must not sleep.
 */
static void step(const char *name);
#define CS_STEP(name) step(name)
#include "protocol.h"

#include <stdio.h>

static _Alignas(128) unsigned char segment[4096];
static const cs_ring ring = {
    .segment = segment,
    .control = segment + 1024,
    .records = segment + 2048,
    .capacity = 4,
    .slot_size = 8,
    .item_size = 8,
    .max_consumers = 1,
};
static const char *awaited;

static void step(const char *name)
{
    if (awaited == NULL || strcmp(name, awaited) != 0)
        return;
    awaited = NULL;
    cs_writer next = {.ring = ring, .always_wake = false};
    cs_open(&next);
}

int main(int count, char **arguments)
{
    cs_writer first = {.ring = ring, .always_wake = true};
    cs_reader reader = {.ring = ring};
    if (count != 2)
        return 2;
    reader.ring.control = NULL;
    cs_open(&first);
    cs_begin(&reader, true);
    awaited = arguments[1];
    cs_waiting waiting = cs_begin_waiting(CS_BLOCKING, INT64_C(3600) * 1000000000);
    int turns = 0;
    while (awaited != NULL || turns < 3) {
        if (cs_wait(&reader, &waiting) != CS_INTERRUPTED)
            return 1;
        turns += awaited == NULL;
    }
    printf("awake\n");
    return 0;
}
