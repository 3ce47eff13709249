/* Total store order, as x86-64 has it. Spin itself is sequentially consistent, so what the machine may delay is modelled:
 *
 * - a store goes into its process's own buffer, and reaches memory in order, but at any later time;
 * - a load sees memory, and so not what is still in another process's buffer;
 * - a fence waits until the process's buffer is empty, and so does an atomic operation, and the kernel in a futex call,
 *   before it takes its own look at memory;
 * - the stores of a process that is killed still reach memory, before the kernel lets another take its lock.
 *
 * Before it includes this file, a model defines WORDS, PROCESSES (how many store) and DEPTH, the length of a buffer. The
 * assertion in `store` shows that no buffer was ever too short: the result holds for buffers of any length. */

byte memory[WORDS];
chan buffer[PROCESSES] = [DEPTH] of { byte, byte }; /* address, value */

proctype flush(byte me)
{
    byte address, value;
end:
    do
    :: d_step { buffer[me] ? address, value -> memory[address] = value; address = 0; value = 0 }
    od
}

inline store(address, value)
{
    atomic { assert(nfull(buffer[me])); buffer[me] ! address, value }
}

/* A process would also see its own buffered stores; nobody here loads what it has just stored, and the assertion holds
 * the models to that. */
inline load(target, address)
{
    atomic { assert(!(buffer[me] ?? [eval(address), _])); target = memory[address] }
}

inline fence()
{
    empty(buffer[me])
}
