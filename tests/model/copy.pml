/* Records are copied while the producer overwrites them: does a reader ever take one that is torn or stale, or lose count?
 *
 * One producer publishes LAST records into CAPACITY slots, up to BATCH at a time. It is killed up to KILLS times, at any
 * step, and another takes over. One reader attaches at any moment and reads batches of any length. A second one would show
 * nothing new: nobody here looks at what a reader stores. A record is two words, which both name its position and who
 * wrote it, so that a mixture of two records shows.
 *
 * The step numbers are those of docs/ring.md. What stands in an atomic block is one access to memory, and then nothing
 * that another process could see. */

#define CLAIM 0
#define HEAD 1
#define WORD(position, i) (2 + 2 * ((position) % CAPACITY) + (i))
#define WORDS (2 + 2 * CAPACITY)
#define PROCESSES 2
#define DEPTH (2 + 2 * BATCH) /* P4 empties the buffer: it holds no more than one publish */
#include "tso.pml"

#define PRODUCER 0
#define READER 1
#define RECORD(position, writer) (1 + (position) + 16 * (writer)) /* 0 is a slot that was never written */

byte kills; /* how many are yet to come */
bool killed;
byte generation;
byte published_by[LAST]; /* which generation published this position */

inline claim_records()
{
    atomic { claim = (claim > head + n -> claim : head + n); store(CLAIM, claim) } /* P1 */
}

inline copy_in() /* P2 */
{
    do
    :: i < n ->
        if
        :: k = 0
        :: k = 1
        fi;
        store(WORD(head + i, k), RECORD(head + i, generation));
        atomic { store(WORD(head + i, 1 - k), RECORD(head + i, generation)); i++; k = 0 }
    :: else -> i = 0; break
    od
}

inline publish() /* P3 */
{
    atomic {
        do
        :: i < n -> published_by[head + i] = generation; i++
        :: else -> i = 0; break
        od;
        store(HEAD, head + n)
    }
}

proctype producer(byte me)
{
    byte head, claim, n, i, k;
open:
    {
        load(head, HEAD); /* T2: what is claimed stays claimed */
        load(claim, CLAIM);
#ifdef CLAIM_LOWERED_AT_TAKEOVER
        atomic { claim = head; store(CLAIM, claim) };
#endif
        fence(); /* T3 */
        do
        :: head < LAST ->
            if
            :: n = 1
            :: BATCH > 1 && head + 1 < LAST -> n = 2
            fi;
#ifdef CLAIM_AFTER_DATA
            copy_in();
            claim_records();
            publish();
#elif defined(HEAD_BEFORE_DATA)
            claim_records();
            publish();
            copy_in();
#else
            claim_records();
            copy_in();
            publish();
#endif
            atomic { head = head + n; n = 0 };
            fence() /* P4 */
        :: else -> goto done
        od
    } unless { killed };
    empty(buffer[me]);
    atomic { killed = false; head = 0; claim = 0; n = 0; i = 0; k = 0; generation++; goto open };
done:
    skip
}

proctype kill_9()
{
end:
    do
    :: atomic { kills > 0 && !killed -> kills--; killed = true }
    od
}

#ifdef ACCEPT_ONE_TOO_MANY
#define GOOD(position) (claim - (position) <= CAPACITY + 1)
#else
#define GOOD(position) (claim - (position) <= CAPACITY)
#endif
#define OLDEST (claim > CAPACITY -> claim - CAPACITY : 0)
#define COPY(position, i) copy[2 * ((position) % CAPACITY) + (i)]

proctype reader(byte me)
{
    byte head, claim, position, start, first, last, q, k, received, lost;
    byte copy[2 * CAPACITY];
    bool torn, stale, accounted;

    if /* R1 */
    :: atomic { load(claim, CLAIM); start = OLDEST; position = start; claim = 0 }
    :: atomic { load(start, HEAD); position = start }
    fi;

    do
    :: position < LAST ->
        load(head, HEAD); /* C1 */
        if
        :: head > position
        :: else -> goto nothing_new
        fi;

        /* Passing over what C3 would refuse proves nothing, so a reader may do without it, unless the rest would not fit
         * into one ring. */
        atomic {
            load(claim, CLAIM);
            if
            :: head - position <= CAPACITY -> first = position
            :: OLDEST > position -> first = (OLDEST < head -> OLDEST : head)
            fi;
#ifndef CHECK_BEFORE_COPY
            claim = 0;
#endif
            last = first;
            do /* any limit */
            :: last < head -> last++
            :: last > first || first == head -> break
            od;
            q = first
        };
        do
        :: q < last -> /* C2 */
            if
            :: k = 0
            :: k = 1
            fi;
            load(COPY(q, k), WORD(q, k));
            atomic { load(COPY(q, 1 - k), WORD(q, 1 - k)); q++; k = 0 }
        :: else -> break
        od;
        atomic {
#ifndef CHECK_BEFORE_COPY
            load(claim, CLAIM); /* C3 */
#endif
#ifndef PASSED_OVER_NOT_COUNTED
            lost = lost + first - position; /* C4 */
#endif
            q = first;
            do
            :: q < last ->
                if
                :: GOOD(q) ->
                    received++;
                    torn = COPY(q, 0) != COPY(q, 1);
                    stale = COPY(q, 0) != RECORD(q, published_by[q]);
                    assert(!torn);
                    assert(!stale)
                :: else -> lost++
                fi;
                COPY(q, 0) = 0;
                COPY(q, 1) = 0;
                q++
            :: else -> break
            od;
            position = last;
            accounted = received + lost + (head - position) == head - start;
            assert(accounted)
        };
nothing_new:
        atomic { head = 0; claim = 0; first = 0; last = 0; q = 0; accounted = false }
    :: else -> break
    od;
    assert(received + lost == LAST - start)
}

init
{
    atomic {
        do
        :: kills < KILLS -> kills++
        :: break
        od;
        run flush(PRODUCER);
        run producer(PRODUCER);
        run reader(READER);
        run kill_9()
    }
}
