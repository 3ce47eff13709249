/* Readers register while the producer offers: do they ever lose more than R4 says?
 *
 * One producer offers LAST records to a ring of CAPACITY, each until it is taken. READERS readers register at any moment.
 * Records have no contents here (copy.pml has them): one is lost if its position fails C3.
 *
 * The step numbers are those of docs/ring.md. What stands in an atomic block is one access to memory, and then nothing
 * that another process could see. */

#define CLAIM 0
#define HEAD 1
#define TAIL(process) (1 + (process))
#define WORDS (2 + READERS)
#define PROCESSES (1 + READERS)
#define DEPTH (LAST + 3)
#include "tso.pml"

#define PRODUCER 0
#define FREE 255

#ifdef ONE_TOO_MANY_IGNORED
#define COUNTS (tail <= head && head - tail <= CAPACITY)
#else
#define COUNTS (tail <= head && head - tail <= CAPACITY + 1)
#endif

proctype producer(byte me)
{
    byte head, tail, smallest, i;

    do
    :: head < LAST ->
#ifndef NO_FENCE_BEFORE_TAILS
        fence(); /* O1 */
#endif
        smallest = head;
        i = 1;
        do
        :: i < PROCESSES -> /* O2 */
            atomic {
                load(tail, TAIL(i));
                if
                :: COUNTS && tail < smallest -> smallest = tail
                :: else
                fi;
                tail = 0;
                i++
            }
        :: else -> break
        od;
        i = 0;
        if
        :: head + 1 - smallest <= CAPACITY ->
            store(CLAIM, head + 1); /* P1 */
            atomic { head++; store(HEAD, head) } /* P3 */
        :: else
        fi
    :: else -> break
    od
}

inline first(target)
{
    if
    :: oldest -> atomic { load(target, CLAIM); target = (target > CAPACITY -> target - CAPACITY : 0) }
    :: else -> load(target, HEAD)
    fi
}

proctype reader(byte me)
{
    byte position, head, claim, lost;
#ifdef ONE_MORE_LOOK
    byte again;
#endif
    bool oldest, lossless;

    if
    :: oldest = true
    :: true
    fi;
register:
    first(position); /* R1 */
    store(TAIL(me), position); /* R2 */
#ifndef NO_FENCE_AFTER_REGISTERING
    fence();
#endif
#ifdef ONE_MORE_LOOK
    first(again);
    atomic { position = (again > position -> again : position); again = 0 };
    store(TAIL(me), position);
#elif !defined(NO_SECOND_LOOK)
    atomic { /* R3 */
        load(claim, CLAIM);
        if
        :: claim > position + CAPACITY -> claim = 0; position = 0; goto register
        :: else -> claim = 0
        fi
    };
    if
    :: oldest
    :: else -> load(position, HEAD); store(TAIL(me), position) /* R4 */
    fi;
#endif

    do
    :: position < LAST ->
        load(head, HEAD); /* C1 */
        if
        :: head > position ->
#ifdef TAIL_BEFORE_COPY
            store(TAIL(me), head);
#endif
            atomic { /* C3 */
                load(claim, CLAIM);
                do
                :: position < head && claim - position > CAPACITY -> position++; lost++
                :: else -> break
                od;
                position = head;
                claim = 0;
                lossless = lost <= (oldest -> 1 : 0);
                assert(lossless);
                lossless = false
            };
#ifndef TAIL_BEFORE_COPY
            store(TAIL(me), position); /* C5 */
#endif
        :: else
        fi;
        head = 0
    :: else -> break
    od
}

init
{
    atomic {
        byte i;
        run producer(PRODUCER);
        run flush(PRODUCER);
        i = 1;
        do
        :: i < PROCESSES -> memory[TAIL(i)] = FREE; run reader(i); run flush(i); i++
        :: else -> i = 0; break
        od
    }
}
