/* The native core: `Writer` and `Reader` of chronostream.ring.core over the protocol in protocol.h.
 *
 * It uses the stable ABI of Python 3.11, and buffers instead of numpy's C API. Each handle holds its own view of the
 * mapping, so that nothing is read after unmap, in whatever order things are closed. Bytes and arrays of the ring's own
 * dtype are used as they are; chronostream.ring.records converts all other values, as for the portable core. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "protocol.h"

/* From 3.12 on the headers do not count references to these, but the same build runs on 3.11, which does. */
#undef Py_RETURN_NONE
#undef Py_RETURN_TRUE
#define Py_RETURN_NONE return Py_NewRef(Py_None)
#define Py_RETURN_TRUE return Py_NewRef(Py_True)

/* Only references: the garbage collector's functions below treat it as an array. */
typedef struct {
    PyObject *copy;     /* copy.copy */
    PyObject *empty;    /* numpy.empty */
    PyObject *ndarray;  /* numpy.ndarray */
    PyObject *scalar;   /* numpy.void */
    PyObject *raw_size; /* chronostream.ring.records */
    PyObject *record_bytes;
    PyObject *records_bytes;
    PyObject *checked_limit;
    PyObject *checked_out;
    PyObject *corrupt; /* CorruptSegmentError */
    PyObject *value_error;
    PyObject *dtype_name; /* "dtype" */
} native_state;

/* --- Both sides --- */

/* What both sides have. `segment` and `control` are views that keep the mapping; `release_error` ends every use. One
 * thread uses a handle, but another one may close it during a wait: hence the atomics. */
typedef struct {
    PyObject_HEAD
    const native_state *state; /* of the module, which the type keeps alive */
    PyObject *layout;
    PyObject *dtype, *equal_dtype; /* the ring's own, and another object that compared equal */
    _Atomic(PyObject *) release_error;
    Py_buffer segment, control;
    atomic_int users; /* of the views: the handle until it is released, and a thread that waits */
} side;

typedef struct {
    side base;
    cs_writer writer;
    Py_ssize_t raw_size; /* of a `bytes` that is a record, whatever its contents; -1 if they must be checked */
} writer_object;

typedef struct {
    side base;
    cs_reader reader;
    cs_idle idle;
} reader_object;

/* Whether the handle was released; then its error is raised. */
static bool released(side *self)
{
    PyObject *release_error = atomic_load_explicit(&self->release_error, memory_order_acquire);
    if (release_error == NULL)
        return false;
    /* A copy: the original would keep every frame that it was raised through. */
    PyObject *error = PyObject_CallFunctionObjArgs(self->state->copy, release_error, NULL);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return true;
}

/* Keep the views until `leave`; false if they were released. */
static bool enter(side *self)
{
    int users = atomic_load(&self->users);
    while (users > 0 && !atomic_compare_exchange_weak(&self->users, &users, users + 1))
        continue;
    return users > 0;
}

static void leave(side *self)
{
    if (atomic_fetch_sub(&self->users, 1) == 1) {
        PyBuffer_Release(&self->segment);
        PyBuffer_Release(&self->control);
    }
}

static PyObject *side_release(PyObject *object, PyObject *error)
{
    side *self = (side *)object;
    PyObject *none = NULL;
    if (atomic_compare_exchange_strong(&self->release_error, &none, Py_NewRef(error)))
        leave(self);
    else
        Py_DECREF(error);
    Py_RETURN_NONE;
}

static void *allocated(PyTypeObject *type)
{
    side *self = (side *)PyType_GenericAlloc(type, 0);
    if (self != NULL) {
        self->state = PyType_GetModuleState(type);
        atomic_init(&self->users, 1);
    }
    return self;
}

/* The number at this offset in the object. */
static PyObject *number_at(PyObject *object, void *offset)
{
    const uint64_t *number = (const void *)((const char *)object + (uintptr_t)offset);
    return released((side *)object) ? NULL : PyLong_FromUnsignedLongLong(*number);
}

static void side_dealloc(PyObject *object)
{
    side *self = (side *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyBuffer_Release(&self->segment);
    PyBuffer_Release(&self->control);
    Py_XDECREF(self->layout);
    Py_XDECREF(self->dtype);
    Py_XDECREF(self->equal_dtype);
    Py_XDECREF(self->release_error);
    PyObject_Free(object);
    Py_DECREF(type);
}

static bool unsigned_attribute(PyObject *object, const char *name, uint64_t *value)
{
    PyObject *attribute = PyObject_GetAttrString(object, name);
    if (attribute == NULL)
        return false;
    *value = PyLong_AsUnsignedLongLong(attribute);
    Py_DECREF(attribute);
    return !PyErr_Occurred();
}

/* Fill in the ring by its `layout`, which must fit into the memory. */
static bool open_side(side *self, cs_ring *ring, PyObject *memory, PyObject *control, PyObject *layout, bool writable)
{
    uint64_t control_offset, records_offset, segment_size, max_consumers;
    const native_state *state = self->state;
    self->layout = Py_NewRef(layout);
    self->dtype = PyObject_GetAttr(layout, state->dtype_name);
    if (self->dtype == NULL || !unsigned_attribute(self->dtype, "itemsize", &ring->item_size) ||
        !unsigned_attribute(layout, "capacity", &ring->capacity) ||
        !unsigned_attribute(layout, "record_size", &ring->slot_size) ||
        !unsigned_attribute(layout, "control_offset", &control_offset) ||
        !unsigned_attribute(layout, "records_offset", &records_offset) ||
        !unsigned_attribute(layout, "segment_size", &segment_size) ||
        !unsigned_attribute(layout, "max_consumers", &max_consumers))
        return false;
    if (PyObject_GetBuffer(memory, &self->segment, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return false;
    if (control != Py_None && PyObject_GetBuffer(control, &self->control, PyBUF_WRITABLE) < 0)
        return false;
    const uint64_t control_size = (uint64_t)CS_LINE + max_consumers * CS_LINE;
    const bool sound = (uint64_t)self->segment.len >= segment_size && ring->capacity > 0 &&
                       (ring->capacity & (ring->capacity - 1)) == 0 && ring->slot_size >= ring->item_size &&
                       ring->slot_size % CS_WORD == 0 && ring->item_size > 0 && max_consumers <= UINT32_MAX &&
                       control_offset + control_size <= records_offset && records_offset <= segment_size &&
                       ring->capacity <= (segment_size - records_offset) / ring->slot_size &&
                       (control == Py_None || (uint64_t)self->control.len >= control_size) &&
                       (uintptr_t)self->segment.buf % CS_LINE == 0 && records_offset % CS_WORD == 0;
    if (!sound) {
        PyErr_SetString(state->value_error, "the layout does not fit the memory: take the one of its segment");
        return false;
    }
    ring->segment = self->segment.buf;
    ring->control = control == Py_None ? NULL : self->control.buf;
    if (writable)
        ring->control = ring->segment + control_offset;
    ring->records = ring->segment + records_offset;
    ring->max_consumers = (uint32_t)max_consumers;
    return true;
}

/* Whether `object` is of exactly `type` and of the ring's dtype, by identity. chronostream.ring.records compares a
 * dtype that is another object, and `remember` keeps it if it is equal. */
static bool is_ours(side *self, PyObject *object, PyObject *type)
{
    if ((PyObject *)Py_TYPE(object) != type)
        return false;
    PyObject *dtype = PyObject_GetAttr(object, self->state->dtype_name);
    if (dtype == NULL) {
        PyErr_Clear();
        return false;
    }
    const bool ours = dtype == self->dtype || dtype == self->equal_dtype;
    Py_DECREF(dtype);
    return ours;
}

/* Whether `object` is such an array, of one dimension and contiguous: then `view`, to be released, is its memory. */
static bool own_array(side *self, PyObject *object, int flags, Py_buffer *view)
{
    if (is_ours(self, object, self->state->ndarray) &&
        PyObject_GetBuffer(object, view, PyBUF_ND | flags) == 0) {
        if (view->ndim == 1)
            return true;
        PyBuffer_Release(view);
    }
    PyErr_Clear();
    return false;
}

static void remember(side *self, PyObject *accepted)
{
    const native_state *state = self->state;
    if ((PyObject *)Py_TYPE(accepted) != state->ndarray && (PyObject *)Py_TYPE(accepted) != state->scalar)
        return;
    PyObject *dtype = PyObject_GetAttr(accepted, state->dtype_name);
    const int equal = dtype == NULL ? -1 : PyObject_RichCompareBool(dtype, self->dtype, Py_EQ);
    if (equal < 0)
        PyErr_Clear();
    if (equal > 0) {
        PyObject *before = self->equal_dtype;
        self->equal_dtype = Py_NewRef(dtype);
        Py_XDECREF(before);
    }
    Py_XDECREF(dtype);
}

/* Have chronostream.ring.records convert a value to bytes, which may run any code, even close the handle. */
static bool converted(side *self, PyObject *function, PyObject *value, Py_buffer *view)
{
    PyObject *bytes = PyObject_CallFunctionObjArgs(function, value, self->layout, NULL);
    if (bytes == NULL)
        return false;
    const int failed = PyObject_GetBuffer(bytes, view, PyBUF_SIMPLE);
    Py_DECREF(bytes);
    if (failed)
        return false;
    if (released(self)) {
        PyBuffer_Release(view);
        return false;
    }
    remember(self, value);
    return true;
}

/* --- The producer's side --- */

/* The bytes of one record; `*view` is to be released afterwards. */
static const unsigned char *one_record(writer_object *self, PyObject *record, Py_buffer *view)
{
    side *base = &self->base;
    if (PyBytes_CheckExact(record) && PyBytes_Size(record) == self->raw_size)
        return (const unsigned char *)PyBytes_AsString(record);
    const native_state *state = base->state;
    if (is_ours(base, record, state->scalar) || is_ours(base, record, state->ndarray)) {
        if (PyObject_GetBuffer(record, view, PyBUF_SIMPLE) == 0) {
            if (view->len == (Py_ssize_t)self->writer.ring.item_size)
                return view->buf;
            PyBuffer_Release(view);
        }
        PyErr_Clear();
    }
    return converted(base, state->record_bytes, record, view) ? view->buf : NULL;
}

static PyObject *writer_new(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords))
{
    PyObject *memory, *layout;
    int always_wake;
    if (!PyArg_ParseTuple(arguments, "OOp:Writer", &memory, &layout, &always_wake))
        return NULL;
    writer_object *self = allocated(type);
    if (self == NULL)
        return NULL;
    PyObject *size = NULL;
    if (open_side(&self->base, &self->writer.ring, memory, Py_None, layout, true))
        size = PyObject_CallFunctionObjArgs(self->base.state->raw_size, layout, NULL);
    if (size == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    self->raw_size = PyLong_AsSsize_t(size);
    Py_DECREF(size);
    self->writer.always_wake = always_wake;
    cs_take_positions(&self->writer);
    return (PyObject *)self;
}

static PyObject *writer_open(PyObject *object, PyObject *Py_UNUSED(none))
{
    writer_object *self = (writer_object *)object;
    if (released(&self->base))
        return NULL;
    cs_open(&self->writer);
    Py_RETURN_NONE;
}

static PyObject *writer_close(PyObject *object, PyObject *Py_UNUSED(none))
{
    writer_object *self = (writer_object *)object;
    if (released(&self->base))
        return NULL;
    cs_set_state(&self->writer, CS_CLOSED);
    Py_RETURN_NONE;
}

/* Publish one record, an offer only if it overwrites nothing unread; return whether it was, -1 with an error set. */
static inline int publish_one(PyObject *object, PyObject *record, bool offered)
{
    writer_object *self = (writer_object *)object;
    Py_buffer view = {0};
    if (released(&self->base))
        return -1;
    const unsigned char *bytes = one_record(self, record, &view);
    if (bytes == NULL)
        return -1;
    const bool free = !offered || cs_may_offer(&self->writer);
    if (free)
        cs_publish(&self->writer, bytes, 1, self->writer.ring.item_size);
    PyBuffer_Release(&view);
    return free;
}

static PyObject *writer_publish(PyObject *object, PyObject *record)
{
    if (publish_one(object, record, false) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *writer_offer(PyObject *object, PyObject *record)
{
    const int published = publish_one(object, record, true);
    return published < 0 ? NULL : PyBool_FromLong(published);
}

/* The bytes of many records, `*size` for each; `*view` is to be released afterwards. */
static bool many_records(writer_object *self, PyObject *records, Py_buffer *view, uint64_t *size)
{
    *size = self->writer.ring.item_size;
    if (own_array(&self->base, records, 0, view))
        return true;
    *size = self->writer.ring.slot_size;
    return converted(&self->base, self->base.state->records_bytes, records, view);
}

static PyObject *writer_publish_many(PyObject *object, PyObject *records)
{
    writer_object *self = (writer_object *)object;
    Py_buffer view = {0};
    uint64_t size;
    if (released(&self->base) || !many_records(self, records, &view, &size))
        return NULL;
    const unsigned char *bytes = view.buf;
    /* Half a ring at a time: a reader that keeps up finds the other half whole. */
    const uint64_t chunk = cs_max(1, self->writer.ring.capacity / 2);
    for (uint64_t left = (uint64_t)view.len / size; left > 0;) {
        const uint64_t count = cs_min(left, chunk);
        cs_publish(&self->writer, bytes, count, size);
        bytes += count * size;
        left -= count;
    }
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static bool checked_count(writer_object *self, PyObject *number, uint64_t *count)
{
    if (released(&self->base))
        return false;
    *count = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return false;
    if (*count > self->writer.ring.capacity) {
        PyErr_SetString(self->base.state->value_error, "more records than the ring has");
        return false;
    }
    return true;
}

static PyObject *writer_claim(PyObject *object, PyObject *number)
{
    writer_object *self = (writer_object *)object;
    uint64_t count;
    if (!checked_count(self, number, &count))
        return NULL;
    PyObject *first = PyLong_FromUnsignedLongLong(self->writer.head);
    if (first == NULL)
        return NULL;
    cs_claim(&self->writer, count);
    cs_full_fence(); /* The caller writes with plain stores. */
    return first;
}

static PyObject *writer_commit(PyObject *object, PyObject *arguments)
{
    writer_object *self = (writer_object *)object;
    unsigned long long first;
    PyObject *number, *rows;
    uint64_t count, size = 0;
    Py_buffer view = {0};
    if (!PyArg_ParseTuple(arguments, "KOO:commit", &first, &number, &rows) || !checked_count(self, number, &count) ||
        (rows != Py_None && !many_records(self, rows, &view, &size)))
        return NULL;
    const bool ours = first == self->writer.head && (rows == Py_None || (uint64_t)view.len == count * size);
    if (ours && rows == Py_None)
        cs_commit(&self->writer, count);
    else if (ours)
        cs_publish(&self->writer, view.buf, count, size);
    PyBuffer_Release(&view);
    return PyBool_FromLong(ours);
}

static PyObject *writer_slowest(PyObject *object, PyObject *Py_UNUSED(none))
{
    writer_object *self = (writer_object *)object;
    uint32_t slot;
    uint64_t tail;
    if (released(&self->base))
        return NULL;
    if (!cs_slowest(&self->writer, &slot, &tail))
        Py_RETURN_NONE;
    return Py_BuildValue("(kK)", (unsigned long)slot, (unsigned long long)tail);
}

/* --- A consumer's side --- */

static bool damaged(reader_object *self, uint64_t head)
{
    if (head >= self->reader.position)
        return false;
    PyErr_Format(self->base.state->corrupt,
                 "the segment is damaged: its head is %llu, but records up to %llu were read from it",
                 (unsigned long long)head, (unsigned long long)self->reader.position);
    return true;
}

/* How many records there are to read, at most a ring of them; false with an error set. */
static bool available(reader_object *self, uint64_t *count)
{
    if (released(&self->base))
        return false;
    const uint64_t head = cs_head(&self->reader);
    *count = cs_min(head - self->reader.position, self->reader.ring.capacity);
    return !damaged(self, head);
}

/* How many arguments there are, 0 or 1, which is `limit` by position or by keyword; -1 with an error set. */
static Py_ssize_t only_limit(const char *method, Py_ssize_t count, PyObject *keywords)
{
    const Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(keywords, i);
        if (PyUnicode_CompareWithASCIIString(name, "limit") != 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method, name);
            return -1;
        }
    }
    if (count + named <= 1)
        return count + named;
    PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", method, count + named);
    return -1;
}

/* Lower `*room` to a limit that was given; false with an error set. */
static bool limited(reader_object *self, PyObject *given, uint64_t *room)
{
    if (given == Py_None)
        return true;
    if (PyLong_CheckExact(given)) {
        const long long limit = PyLong_AsLongLong(given);
        if (limit >= 0) {
            *room = cs_min(*room, (uint64_t)limit);
            return true;
        }
        PyErr_Clear(); /* Negative or too large: checked_limit decides. */
    }
    PyObject *most = PyLong_FromUnsignedLongLong(*room);
    if (most == NULL)
        return false;
    PyObject *limit = PyObject_CallFunctionObjArgs(self->base.state->checked_limit, given, most, NULL);
    Py_DECREF(most);
    if (limit == NULL)
        return false;
    *room = PyLong_AsUnsignedLongLong(limit);
    Py_DECREF(limit);
    return !PyErr_Occurred() && !released(&self->base);
}

static bool idle_named(const side *self, const char *name, cs_idle *idle)
{
    static const char *const names[] = {"busy-spin", "yielding", "sleeping", "blocking"}; /* in the order of cs_idle */
    for (*idle = CS_BUSY_SPIN; *idle <= CS_BLOCKING; (*idle)++) {
        if (strcmp(names[*idle], name) == 0)
            return true;
    }
    PyErr_Format(self->state->value_error, "idle strategy %s is unknown", name);
    return false;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords))
{
    PyObject *memory, *control, *layout, *slot;
    const char *idle;
    int from_oldest;
    if (!PyArg_ParseTuple(arguments, "OOOOps:Reader", &memory, &control, &layout, &slot, &from_oldest, &idle))
        return NULL;
    reader_object *self = allocated(type);
    if (self == NULL)
        return NULL;
    cs_ring *ring = &self->reader.ring;
    if (!open_side(&self->base, ring, memory, control, layout, false) ||
        !idle_named(&self->base, idle, &self->idle))
        goto failed;
    if (slot != Py_None && ring->control != NULL) {
        const unsigned long number = PyLong_AsUnsignedLong(slot);
        if (PyErr_Occurred())
            goto failed;
        if (number >= ring->max_consumers) {
            PyErr_SetString(self->base.state->value_error, "the table of consumers has no such slot");
            goto failed;
        }
        self->reader.line = ring->control + CS_LINE + (size_t)number * CS_LINE;
    }
    cs_begin(&self->reader, from_oldest);
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static PyObject *reader_read(PyObject *object, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    reader_object *self = (reader_object *)object;
    uint64_t room;
    cs_copied found;
    if ((keywords != NULL || count > 1) && (count = only_limit("Consumer.read", count, keywords)) < 0)
        return NULL;
    if (!available(self, &room) || (count > 0 && !limited(self, arguments[0], &room)))
        return NULL;
    PyObject *length = PyLong_FromUnsignedLongLong(room);
    if (length == NULL)
        return NULL;
    PyObject *array = PyObject_CallFunctionObjArgs(self->base.state->empty, length, self->base.dtype, NULL);
    Py_DECREF(length);
    if (array == NULL || room == 0)
        return array;
    Py_buffer view = {0};
    if (PyObject_GetBuffer(array, &view, PyBUF_WRITABLE) < 0)
        goto failed;
    if (released(&self->base)) { /* Making the array may have run the garbage collector, and so any code. */
        PyBuffer_Release(&view);
        goto failed;
    }
    const bool sound = cs_copy(&self->reader, view.buf, room, &found);
    PyBuffer_Release(&view);
    if (!sound) {
        damaged(self, found.head);
        goto failed;
    }
    if (found.good != room) {
        const int collects = PyGC_Disable(); /* A finalizer that read here would get the same records again. */
        PyObject *part = PySequence_GetSlice(array, (Py_ssize_t)found.skip, (Py_ssize_t)(found.skip + found.good));
        if (collects)
            PyGC_Enable();
        Py_DECREF(array);
        if (part == NULL)
            return NULL;
        array = part;
    }
    cs_take(&self->reader, &found);
    return array;
failed:
    Py_DECREF(array);
    return NULL;
}

static PyObject *reader_read_into(PyObject *object, PyObject *out)
{
    reader_object *self = (reader_object *)object;
    const uint64_t size = self->reader.ring.item_size;
    uint64_t room;
    cs_copied found;
    Py_buffer view = {0};
    if (released(&self->base))
        return NULL;
    if (!own_array(&self->base, out, PyBUF_WRITABLE, &view)) {
        PyObject *checked = PyObject_CallFunctionObjArgs(self->base.state->checked_out, out, self->base.layout, NULL);
        if (checked == NULL)
            return NULL;
        remember(&self->base, out);
        const int failed = PyObject_GetBuffer(checked, &view, PyBUF_WRITABLE);
        Py_DECREF(checked);
        if (failed)
            return NULL;
    }
    PyObject *count = NULL;
    if (available(self, &room)) {
        unsigned char *bytes = view.buf;
        if (cs_copy(&self->reader, bytes, cs_min(room, (uint64_t)view.len / size), &found)) {
            if (found.skip > 0)
                memmove(bytes, bytes + found.skip * size, found.good * size);
            if ((count = PyLong_FromUnsignedLongLong(found.good)) != NULL)
                cs_take(&self->reader, &found);
        } else {
            damaged(self, found.head);
        }
    }
    PyBuffer_Release(&view);
    return count;
}

static PyObject *reader_peek(PyObject *object, PyObject *limit)
{
    reader_object *self = (reader_object *)object;
    uint64_t room;
    if (!available(self, &room) || !limited(self, limit, &room))
        return NULL;
    const uint64_t found = cs_peek(&self->reader, room);
    return Py_BuildValue("(KK)", (unsigned long long)self->reader.position, (unsigned long long)found);
}

static PyObject *reader_end_peek(PyObject *object, PyObject *arguments)
{
    reader_object *self = (reader_object *)object;
    unsigned long long first, count;
    uint64_t most;
    if (!PyArg_ParseTuple(arguments, "KK:end_peek", &first, &count) || !available(self, &most))
        return NULL;
    if (first != self->reader.position)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(cs_end_peek(&self->reader, cs_min(count, most)));
}

static PyObject *wait_until(reader_object *self, double timeout_s)
{
    const double most_s = 1e9;
    const double limited_s = timeout_s > 0 ? (timeout_s < most_s ? timeout_s : most_s) : 0;
    cs_waiting waiting = cs_begin_waiting(self->idle, (int64_t)(limited_s * 1e9));
    for (;;) {
        uint64_t count;
        cs_outcome outcome;
        Py_BEGIN_ALLOW_THREADS
        outcome = cs_wait(&self->reader, &waiting);
        Py_END_ALLOW_THREADS
        if (!available(self, &count))
            return NULL;
        if (outcome != CS_INTERRUPTED)
            return PyBool_FromLong(outcome == CS_READY);
        if (PyErr_CheckSignals() < 0)
            return NULL;
    }
}

static PyObject *reader_wait(PyObject *object, PyObject *timeout)
{
    reader_object *self = (reader_object *)object;
    const double timeout_s = PyFloat_AsDouble(timeout);
    if (PyErr_Occurred() || released(&self->base) || (!enter(&self->base) && released(&self->base)))
        return NULL;
    /* If another thread closes the handle meanwhile, the memory stays until `leave`. */
    uint64_t count;
    PyObject *ready = NULL;
    if (available(self, &count))
        ready = count > 0 ? PyBool_FromLong(true) : wait_until(self, timeout_s);
    leave(&self->base);
    return ready;
}

static PyObject *reader_prepare_to_wait(PyObject *object, PyObject *Py_UNUSED(none))
{
    reader_object *self = (reader_object *)object;
    uint64_t count;
    uint32_t wake_seq;
    if (!available(self, &count))
        return NULL;
    if (!cs_prepare_to_wait(&self->reader, &wake_seq))
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(wake_seq);
}

static PyObject *reader_leave(PyObject *object, PyObject *Py_UNUSED(none))
{
    reader_object *self = (reader_object *)object;
    if (released(&self->base))
        return NULL;
    cs_leave(&self->reader);
    Py_RETURN_NONE;
}

static PyObject *reader_lag(PyObject *object, void *Py_UNUSED(closure))
{
    reader_object *self = (reader_object *)object;
    if (released(&self->base))
        return NULL;
    const uint64_t head = cs_head(&self->reader);
    return damaged(self, head) ? NULL : PyLong_FromUnsignedLongLong(head - self->reader.position);
}

static PyObject *reader_closed(PyObject *object, void *Py_UNUSED(closure))
{
    reader_object *self = (reader_object *)object;
    return released(&self->base) ? NULL : PyBool_FromLong(cs_closed(&self->reader));
}

/* --- The types and the module --- */

/* In a free-threaded build, a call holds the lock of its handle, so that no other thread releases the memory meanwhile.
 * With the GIL, the tables have the calls themselves. */
#ifdef Py_GIL_DISABLED
#define GUARDED(function, parameters, arguments)                                                                       \
    static PyObject *guarded_##function parameters                                                                     \
    {                                                                                                                  \
        PyObject *result;                                                                                              \
        Py_BEGIN_CRITICAL_SECTION(object);                                                                             \
        result = function arguments;                                                                                   \
        Py_END_CRITICAL_SECTION();                                                                                     \
        return result;                                                                                                 \
    }
#define GUARDED_METHOD(function) GUARDED(function, (PyObject *object, PyObject *argument), (object, argument))
#define GUARDED_GETTER(function) GUARDED(function, (PyObject *object, void *closure), (object, closure))
GUARDED_METHOD(side_release)
GUARDED_METHOD(writer_open)
GUARDED_METHOD(writer_publish)
GUARDED_METHOD(writer_publish_many)
GUARDED_METHOD(writer_offer)
GUARDED_METHOD(writer_claim)
GUARDED_METHOD(writer_commit)
GUARDED_METHOD(writer_slowest)
GUARDED_METHOD(writer_close)
GUARDED_METHOD(reader_read_into)
GUARDED_METHOD(reader_peek)
GUARDED_METHOD(reader_end_peek)
GUARDED_METHOD(reader_wait)
GUARDED_METHOD(reader_prepare_to_wait)
GUARDED_METHOD(reader_leave)
GUARDED_GETTER(number_at)
GUARDED_GETTER(reader_lag)
GUARDED_GETTER(reader_closed)
GUARDED(reader_read, (PyObject *object, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords),
        (object, arguments, count, keywords))
#define CALL(function) guarded_##function
#else
#define CALL(function) function
#endif

/* The texts are those of the handles' methods, with a signature before them; a test compares them. */
static PyMethodDef writer_methods[] = {
    {"open", CALL(writer_open), METH_NOARGS, NULL},
    {"publish", CALL(writer_publish), METH_O,
     "publish($self, record, /)\n--\n\n"
     "Publish one record: a row, a tuple, or any buffer of one record's size."},
    {"publish_many", CALL(writer_publish_many), METH_O,
     "publish_many($self, records, /)\n--\n\n"
     "Publish many records: an array of the ring's dtype, shape ``(n,)``, or a sequence of rows."},
    {"offer", CALL(writer_offer), METH_O, NULL},
    {"claim", CALL(writer_claim), METH_O, NULL},
    {"commit", CALL(writer_commit), METH_VARARGS, NULL},
    {"slowest", CALL(writer_slowest), METH_NOARGS, NULL},
    {"close", CALL(writer_close), METH_NOARGS, NULL},
    {"release", CALL(side_release), METH_O, NULL},
    {0},
};
static PyGetSetDef writer_getters[] = {
    {.name = "head", .get = CALL(number_at), .closure = (void *)offsetof(writer_object, writer.head)},
    {0},
};
static PyType_Slot writer_slots[] = {
    {Py_tp_new, writer_new},
    {Py_tp_dealloc, side_dealloc},
    {Py_tp_methods, writer_methods},
    {Py_tp_getset, writer_getters},
    {0},
};
static PyType_Spec writer_spec = {
    .name = "chronostream.ring._native.Producer", /* the name in error messages: the methods are the handle's */
    .basicsize = sizeof(writer_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = writer_slots,
};

static PyMethodDef reader_methods[] = {
    {"read", (PyCFunction)(void (*)(void))CALL(reader_read), METH_FASTCALL | METH_KEYWORDS,
     "read($self, /, limit=None)\n--\n\n"
     "Return the available records, at most `limit`, as a new array, shape ``(n,)``; never blocks."},
    {"read_into", CALL(reader_read_into), METH_O,
     "read_into($self, out, /)\n--\n\n"
     "Copy available records to the front of `out`, an array of the ring's dtype; return how many. Never blocks."},
    {"peek", CALL(reader_peek), METH_O, NULL},
    {"end_peek", CALL(reader_end_peek), METH_VARARGS, NULL},
    {"wait", CALL(reader_wait), METH_O, NULL},
    {"prepare_to_wait", CALL(reader_prepare_to_wait), METH_NOARGS, NULL},
    {"leave", CALL(reader_leave), METH_NOARGS, NULL},
    {"release", CALL(side_release), METH_O, NULL},
    {0},
};
static PyGetSetDef reader_getters[] = {
    {.name = "position", .get = CALL(number_at), .closure = (void *)offsetof(reader_object, reader.position)},
    {.name = "lost", .get = CALL(number_at), .closure = (void *)offsetof(reader_object, reader.lost)},
    {.name = "lag", .get = CALL(reader_lag)},
    {.name = "closed", .get = CALL(reader_closed)},
    {0},
};
static PyType_Slot reader_slots[] = {
    {Py_tp_new, reader_new},
    {Py_tp_dealloc, side_dealloc},
    {Py_tp_methods, reader_methods},
    {Py_tp_getset, reader_getters},
    {0},
};
static PyType_Spec reader_spec = {
    .name = "chronostream.ring._native.Consumer",
    .basicsize = sizeof(reader_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reader_slots,
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    const int added = type == NULL ? -1 : PyModule_AddObjectRef(module, name, type);
    Py_XDECREF(type);
    return added;
}

static int add_offsets(PyObject *module)
{
    PyObject *offsets = Py_BuildValue(
        "{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:K}", "LINE", CS_LINE, "STATE", CS_STATE, "ALWAYS_WAKE", CS_ALWAYS_WAKE,
        "CLAIM", CS_CLAIM, "HEAD", CS_HEAD, "WAKE_SEQ", CS_WAKE_SEQ, "WAITING", CS_WAITING, "LIVE", CS_LIVE, "CLOSED",
        CS_CLOSED, "FREE_TAIL", (unsigned long long)CS_FREE_TAIL);
    const int added = PyModule_AddObjectRef(module, "OFFSETS", offsets);
    Py_XDECREF(offsets);
    return added;
}

static int native_exec(PyObject *module)
{
    native_state *state = PyModule_GetState(module);
    state->dtype_name = PyUnicode_InternFromString("dtype");
    const struct {
        PyObject **target;
        const char *module_name, *name;
    } imports[] = {
        {&state->copy, "copy", "copy"},
        {&state->empty, "numpy", "empty"},
        {&state->ndarray, "numpy", "ndarray"},
        {&state->scalar, "numpy", "void"},
        {&state->raw_size, "chronostream.ring.records", "raw_size"},
        {&state->record_bytes, "chronostream.ring.records", "record_bytes"},
        {&state->records_bytes, "chronostream.ring.records", "records_bytes"},
        {&state->checked_limit, "chronostream.ring.records", "checked_limit"},
        {&state->checked_out, "chronostream.ring.records", "checked_out"},
        {&state->corrupt, "chronostream.errors", "CorruptSegmentError"},
        {&state->value_error, "chronostream.errors", "InvalidValueError"},
    };
    for (size_t i = 0; i < sizeof imports / sizeof *imports; i++) {
        PyObject *imported = PyImport_ImportModule(imports[i].module_name);
        if (imported == NULL || (*imports[i].target = PyObject_GetAttrString(imported, imports[i].name)) == NULL) {
            Py_XDECREF(imported);
            return -1;
        }
        Py_DECREF(imported);
    }
    if (state->dtype_name == NULL || add_type(module, "Writer", &writer_spec) < 0 ||
        add_type(module, "Reader", &reader_spec) < 0 || PyModule_AddStringConstant(module, "NAME", "native") < 0)
        return -1;
    return add_offsets(module);
}

enum { STATE_OBJECTS = sizeof(native_state) / sizeof(PyObject *) };

static int native_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **objects = PyModule_GetState(module);
    for (size_t i = 0; i < STATE_OBJECTS; i++)
        Py_VISIT(objects[i]);
    return 0;
}

static int native_clear(PyObject *module)
{
    PyObject **objects = PyModule_GetState(module);
    for (size_t i = 0; i < STATE_OBJECTS; i++)
        Py_CLEAR(objects[i]);
    return 0;
}

static void native_free(void *module)
{
    native_clear(module);
}

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, native_exec},
#ifdef Py_mod_gil /* for free-threaded builds */
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0},
};
static struct PyModuleDef native_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "chronostream.ring._native",
    .m_doc = "The native core: the ring's protocol in C11 atomics.",
    .m_size = sizeof(native_state),
    .m_slots = native_slots,
    .m_traverse = native_traverse,
    .m_clear = native_clear,
    .m_free = native_free,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&native_module);
}
