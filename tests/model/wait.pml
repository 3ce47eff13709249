/* Readers sleep, the producer wakes them: does one ever sleep for ever while there is something to read, or while the
 * stream is closed? And has one that ends because of a close read everything?
 *
 * One producer publishes up to LAST records; then it goes quiet, or closes. It is killed at any step, or opens again what
 * it has closed, up to LIVES times. READERS readers share the waiting flag. Records have no contents here (copy.pml has
 * them), and no wait ends by itself: that a real one looks again after half a second would hide what is asked.
 *
 * P4 looks at the flag, and takes down one that is set: with a store, as in the portable core, or with EXCHANGE, as in the
 * native one. With ALWAYS_WAKE each publish wakes, and readers raise no flag. With STAYS_OPEN the producer never closes.
 *
 * The step numbers are those of docs/ring.md. What stands in an atomic block is one access to memory, and then nothing
 * that another process could see. */

#define HEAD 0
#define STATE 1
#define WAITING 2
#define WAKE_SEQ 3
#define WORDS 4
#define PROCESSES (1 + READERS)
#define DEPTH (3 * LAST + 3)
#include "tso.pml"

#define PRODUCER 0
#define LIVE 1
#define CLOSED 2

byte lives; /* how many producers are yet to come */
bool killed;
byte asleep; /* a bit for each reader */

inline bump()
{
    atomic {
        load(wake_seq, WAKE_SEQ);
        store(WAKE_SEQ, wake_seq + 1);
        wake_seq = 0
    }
}

inline futex_wake_all()
{
    atomic { empty(buffer[me]) -> asleep = 0 }
}

inline wake()
{
#ifdef BUMP_AFTER_WAKE
    futex_wake_all();
    bump()
#else
    bump();
    futex_wake_all()
#endif
}

inline publish()
{
    atomic { head++; store(HEAD, head) }; /* P3 */
#ifndef NO_FENCE_AFTER_PUBLISH
    fence(); /* P4 */
#endif
#ifdef ALWAYS_WAKE
    wake()
#else
    load(flag, WAITING);
    if
#ifdef EXCHANGE
    :: flag -> atomic { empty(buffer[me]) -> flag = memory[WAITING]; memory[WAITING] = false }
#else
    :: flag -> store(WAITING, false)
#endif
    :: else
    fi;
    if
    :: flag -> flag = false; wake()
    :: else
    fi
#endif
}

proctype producer(byte me)
{
    byte head, wake_seq;
    bool flag;
open:
    {
        load(head, HEAD); /* T2 */
        store(STATE, LIVE); /* T3 */
        fence();
#ifndef TAKEOVER_WITHOUT_BUMP
        bump();
#endif
#ifndef TAKEOVER_WITHOUT_WAKE
        futex_wake_all();
#endif
        do
        :: head < LAST -> publish()
        :: break
        od;
        if
        :: goto quiet
#ifndef STAYS_OPEN
        :: true
#endif
        fi;
        store(STATE, CLOSED); /* X1 */
        fence();
#ifndef CLOSE_WITHOUT_BUMP
        bump();
#endif
#ifndef CLOSE_WITHOUT_WAKE
        futex_wake_all();
#endif
        if
        :: goto quiet
        :: atomic { lives > 0 && !killed -> lives--; killed = true } /* ended, and the next one opens it */
        fi
    } unless { killed };
    empty(buffer[me]);
    atomic { killed = false; head = 0; flag = false; goto open };
quiet:
    atomic { head = 0; flag = false }
}

proctype kill_9()
{
end:
    do
    :: atomic { lives > 0 && !killed -> lives--; killed = true }
    od
}

#define ME (1 << me)

inline futex_wait(word, value)
{
    atomic {
        empty(buffer[me]);
        if
        :: memory[word] == value -> asleep = asleep | ME
        :: else
        fi;
        wake_seq = 0
    };
    if
    :: !(asleep & ME)
    :: timeout -> /* nothing moves any more: nobody will wake this reader */
        slept_through_a_record = memory[HEAD] != position;
        slept_through_a_close = memory[STATE] == CLOSED;
        assert(!slept_through_a_record);
        assert(!slept_through_a_close);
        goto done
    fi
}

proctype reader(byte me)
{
    byte position, word, k, wake_seq, due;
    bool slept_through_a_record, slept_through_a_close, drained;

look:
    atomic { /* C1 */
        load(word, HEAD);
        if
        :: word > position -> position = word; word = 0; goto look
        :: else -> word = 0
        fi
    };
    atomic {
        load(word, STATE);
        if
        :: word == CLOSED -> due = memory[HEAD]; word = 0; goto closed
        :: else -> word = 0
        fi
    };
#ifdef HEAD_NOT_COMPARED
    load(k, HEAD);
#else
    atomic { /* W1 */
        load(word, HEAD);
        if
        :: word > position -> word = 0; goto look
        :: else -> k = word; word = 0
        fi
    };
#endif
#ifndef WAKE_SEQ_AFTER_FLAG
    load(wake_seq, WAKE_SEQ);
#endif
#ifndef ALWAYS_WAKE
    store(WAITING, true); /* W2 */
#endif
#ifndef NO_FENCE_AFTER_FLAG
    fence();
#endif
#ifdef WAKE_SEQ_AFTER_FLAG
    load(wake_seq, WAKE_SEQ);
#endif
    atomic { /* W3 */
        load(word, HEAD);
        if
        :: word > k -> word = 0; k = 0; wake_seq = 0; goto look
        :: else -> word = 0; k = 0
        fi
    };
#ifndef STATE_NOT_LOOKED_AT
    atomic {
        load(word, STATE);
        if
        :: word == CLOSED -> word = 0; wake_seq = 0; goto look
        :: else -> word = 0
        fi
    };
#endif
#ifdef SLEEP_ON_HEAD
    futex_wait(HEAD, position);
#else
    futex_wait(WAKE_SEQ, wake_seq);
#endif
    goto look;

closed:
#ifndef NO_LAST_LOOK
    load(position, HEAD); /* X2 */
#endif
    drained = position >= due;
    assert(drained);
done:
    atomic { position = 0; due = 0; drained = false }
}

init
{
    atomic {
        byte i;
        do
        :: lives < LIVES -> lives++
        :: break
        od;
        run producer(PRODUCER);
        run flush(PRODUCER);
        i = 1;
        do
        :: i < PROCESSES -> run reader(i); run flush(i); i++
        :: else -> i = 0; break
        od;
        run kill_9()
    }
}
