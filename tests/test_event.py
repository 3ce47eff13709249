from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import operator
import pickle
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chronostream.errors import InvalidTypeError, InvalidValueError, UnknownFrequencyError
from chronostream.event import (
    EVENT_DTYPE,
    FREQUENCIES,
    SCHEMA_VERSION,
    Event,
    Frequency,
    build_event,
    build_events,
    build_mixed_events,
    encode_text,
    event_ids,
    to_events,
    to_records,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "events.json").read_text(encoding="utf-8"))
INT64_MIN, INT64_MAX, UINT64_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
LAYOUT = "<qQqBBHI32s64s"
COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge)


def texts(room: int) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return st.text(characters, max_size=room).filter(lambda text: len(text.encode()) <= room)


frequencies = st.sampled_from(FREQUENCIES)
timestamps = st.integers(INT64_MIN, INT64_MAX)
sequences = st.integers(0, UINT64_MAX)
events = st.builds(build_event, frequencies, timestamps, sequences, texts(32), texts(64))


def event_of(**changes: Any) -> Event:
    good: dict[str, Any] = {"frequency": 1, "timestamp": 0, "sequence": 1, "producer_version": "v", "instance_id": "i"}
    return build_event(**good | changes)


def records_of(stamps: Any = (0,), numbers: Any = (1,), **changes: Any) -> npt.NDArray[np.void]:
    texts = {"producer_version": "v", "instance_id": "i"} | changes
    return build_events(Frequency.SECOND, stamps, numbers, **texts)


def test_frequencies_have_the_numbers_that_ids_carry() -> None:
    assert {item.name: item.value for item in Frequency} == {
        "UNKNOWN": 0,
        "SECOND": 1,
        "MINUTE": 2,
        "HOUR": 3,
        "DAY": 4,
    }
    assert FREQUENCIES == (1, 2, 3, 4)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_parse_takes_names_in_any_case_numbers_and_frequencies(frequency: Frequency) -> None:
    spellings: list[Any] = [
        frequency,
        int(frequency),
        np.uint8(frequency),
        frequency.name,
        frequency.label,
        frequency.label.title(),
    ]
    assert [Frequency.parse(spelling) for spelling in spellings] == [frequency] * len(spellings)


@pytest.mark.parametrize(
    "value",
    ["", "unknown", "seconds", " second", "1", 0, 5, -1, 256, Frequency.UNKNOWN, 1.0, True, None, [1], b"second"],
)
def test_parse_names_the_choices_when_there_is_no_such_frequency(value: Any) -> None:
    with pytest.raises(UnknownFrequencyError, match="choose one of second, minute, hour, day"):
        Frequency.parse(value)


def test_parse_all_takes_each_frequency_once_and_the_shortest_first() -> None:
    assert Frequency.parse_all(["minute", 4, Frequency.SECOND, "second"]) == (1, 2, 4)


def test_parse_all_of_nothing_names_the_choices() -> None:
    with pytest.raises(InvalidValueError, match="no frequency: give at least one of second, minute, hour, day"):
        Frequency.parse_all([])


@pytest.mark.parametrize("values", ["second", Frequency.DAY, 1.5, None])
def test_parse_all_refuses_what_is_no_collection(values: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"frequencies are .*, expected a collection"):
        Frequency.parse_all(values)


def test_each_field_stands_where_the_layout_says() -> None:
    assert EVENT_DTYPE.itemsize == 128
    assert EVENT_DTYPE.fields is not None
    assert {name: (field[1], field[0].str) for name, field in EVENT_DTYPE.fields.items()} == {
        "timestamp": (0, "<i8"),
        "sequence": (8, "<u8"),
        "seed": (16, "<i8"),
        "frequency": (24, "|u1"),
        "reserved": (25, "|u1"),
        "schema_version": (26, "<u2"),
        "reserved2": (28, "<u4"),
        "producer_version": (32, "|S32"),
        "instance_id": (64, "|S64"),
    }


@given(frequencies, timestamps, sequences, texts(32), texts(64))
def test_every_byte_of_a_record_is_defined(
    frequency: Frequency, timestamp: int, sequence: int, version: str, instance: str
) -> None:
    seed = struct.unpack("<q", struct.pack("<Q", (timestamp ^ sequence) & UINT64_MAX))[0]
    parts = (timestamp, sequence, seed, frequency, 0, 1, 0, version.encode(), instance.encode())
    records = build_events(frequency, [timestamp], [sequence], version, instance)
    assert records.tobytes() == struct.pack(LAYOUT, *parts)


@given(events)
@example(event_of(timestamp=INT64_MIN, sequence=UINT64_MAX))
@example(event_of(timestamp=INT64_MAX, sequence=UINT64_MAX))
@example(event_of(timestamp=INT64_MIN, sequence=0))
@example(event_of(producer_version="", instance_id=""))
@example(event_of(producer_version="é" * 16, instance_id="😀" * 16))
def test_scalar_and_vectorised_building_give_the_same_bytes(event: Event) -> None:
    records = build_events(
        event.frequency, [event.timestamp], [event.sequence], event.producer_version, event.instance_id
    )
    assert to_records([event]).tobytes() == records.tobytes()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_event_matches_its_vector(vector: dict[str, Any]) -> None:
    event = build_event(vector["frequency"], vector["timestamp"], vector["sequence"], "v", "i")
    assert {key: getattr(event, key) for key in vector} == vector


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_record_matches_its_vector(vector: dict[str, Any]) -> None:
    records = build_events(vector["frequency"], [vector["timestamp"]], [vector["sequence"]], "v", "i")
    stored = {key: records[key][0] for key in vector if key != "id"}
    assert {"id": event_ids(records)[0], **stored} == vector


def test_integers_of_numpy_become_plain_ones() -> None:
    event = event_of(timestamp=np.int64(1), sequence=np.uint64(1))
    assert [type(event.timestamp), type(event.sequence), type(event.seed)] == [int, int, int]
    assert event == event_of(timestamp=1, sequence=1)


def test_event_carries_its_texts_and_schema() -> None:
    event = event_of(frequency="day", producer_version="1.2.3", instance_id="host-7")
    assert (event.frequency, event.schema_version) == (Frequency.DAY, SCHEMA_VERSION)
    assert (event.producer_version, event.instance_id) == ("1.2.3", "host-7")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Event)])
def test_event_cannot_be_changed(field: str) -> None:
    event = event_of()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, getattr(event, field))


def test_event_takes_no_further_attributes() -> None:
    with pytest.raises((AttributeError, TypeError)):
        event_of().emitted_ns = 1  # type: ignore[attr-defined]


def test_equal_events_are_one_in_a_set() -> None:
    assert len({event_of(), event_of(), event_of(sequence=2), event_of(instance_id="j")}) == 3


def test_events_sort_by_boundary_then_frequency_then_sequence() -> None:
    keys = [(9, "day", 1), (10, "second", 2), (10, "minute", 0), (10, "minute", 1), (11, "second", 0)]
    events = [build_event(frequency, timestamp, sequence, "v", "i") for timestamp, frequency, sequence in keys]
    assert sorted(events[i] for i in (3, 0, 4, 2, 1)) == events
    for before, after in itertools.pairwise(events):
        assert [compare(before, after) for compare in COMPARISONS] == [True, True, False, False]
        assert [compare(after, before) for compare in COMPARISONS] == [False, False, True, True]


def test_events_of_one_boundary_from_two_producers_differ_and_neither_comes_first() -> None:
    one, other = (build_event("day", 0, 1, "v", instance) for instance in "ab")
    assert one != other
    assert [compare(one, other) for compare in COMPARISONS] == [False, True, False, True]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_an_event_has_no_order_with_something_else(compare: Any) -> None:
    with pytest.raises(TypeError, match="not supported between instances of 'Event' and 'int'"):
        compare(build_event("day", 0, 1, "", ""), 7)


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_700_000_000_123_456_789, datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        ((1 << 63) - 1, datetime(2262, 4, 11, 23, 47, 16, 854775, UTC)),
        (-1 << 63, datetime(1677, 9, 21, 0, 12, 43, 145224, UTC)),
    ],
)
def test_the_time_of_an_event_is_its_boundary_in_utc_down_to_the_microsecond(timestamp: int, time: datetime) -> None:
    found = build_event("second", timestamp, 0, "", "").time
    assert (found, found.utcoffset()) == (time, timedelta(0))


def test_a_frequency_is_its_label_as_text_and_its_number_as_a_number() -> None:
    frequency = Frequency.MINUTE
    assert (f"{frequency}", f"{frequency:>8}", str(frequency)) == ("minute", "  minute", "minute")
    assert (f"{frequency:d}", f"{frequency:03d}", f"{frequency:,}") == ("2", "002", "2")
    assert operator.mod("%s is %d", (frequency, frequency)) == "minute is 2"
    assert json.dumps({"frequency": frequency}) == '{"frequency": 2}'
    assert (np.array([frequency]).tolist(), int(frequency), frequency + 1) == ([2], 2, 3)
    assert repr(frequency) == "<Frequency.MINUTE: 2>"
    with pytest.raises(ValueError, match="Unknown format code"):
        format(frequency, "y")


def test_event_survives_pickling_and_copying() -> None:
    event = event_of()
    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event


@pytest.mark.parametrize(
    ("field", "value"),
    [("timestamp", INT64_MIN - 1), ("timestamp", INT64_MAX + 1), ("sequence", -1), ("sequence", UINT64_MAX + 1)],
)
def test_number_out_of_range_is_refused(field: str, value: int) -> None:
    with pytest.raises(InvalidValueError, match=f"^{field} is {value}, expected"):
        event_of(**{field: value})
    plural = {"timestamp": "stamps", "sequence": "numbers"}[field]
    with pytest.raises(InvalidValueError, match=f"^an element of {field}s is {value}, expected"):
        records_of(**{plural: [value]})


@pytest.mark.parametrize("field", ["timestamp", "sequence"])
@pytest.mark.parametrize("value", [1.0, True, "1", None], ids=repr)
def test_number_that_is_no_integer_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"^{field} is {type(value).__name__}, expected an integer"):
        event_of(**{field: value})
    plural = {"timestamp": "stamps", "sequence": "numbers"}[field]
    with pytest.raises(InvalidTypeError, match=f"^an element of {field}s is {type(value).__name__}, expected"):
        records_of(**{plural: [value]})


@pytest.mark.parametrize("frequency", [0, 5, "fortnight", True, None])
def test_unknown_frequency_is_refused(frequency: Any) -> None:
    with pytest.raises(UnknownFrequencyError):
        event_of(frequency=frequency)
    with pytest.raises(UnknownFrequencyError):
        build_events(frequency, [0], [1], "v", "i")


@pytest.mark.parametrize(("field", "room"), [("producer_version", 32), ("instance_id", 64)])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (lambda room: "x" * (room + 1), r"takes \d+ bytes of UTF-8, but only \d+ fit"),
        (lambda room: "é" * (room // 2) + "x", r"takes \d+ bytes of UTF-8, but only \d+ fit"),
        (lambda _: "a\0b", "holds a NUL"),
        (lambda _: "\0", "holds a NUL"),
        (lambda _: "\ud800", "not valid Unicode"),
    ],
    ids=["long", "long in UTF-8", "NUL", "only a NUL", "lone surrogate"],
)
def test_text_that_does_not_fit_its_field_is_refused(field: str, room: int, text: Any, complaint: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^{field} .*{complaint}"):
        event_of(**{field: text(room)})
    with pytest.raises(InvalidValueError, match=f"^{field} .*{complaint}"):
        records_of(**{field: text(room)})


@pytest.mark.parametrize("field", ["producer_version", "instance_id"])
@pytest.mark.parametrize("text", [b"v", 1, None], ids=repr)
def test_text_that_is_no_string_is_refused(field: str, text: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"^{field} is {type(text).__name__}, expected a string"):
        event_of(**{field: text})
    with pytest.raises(InvalidTypeError, match=f"^{field} is {type(text).__name__}, expected a string"):
        records_of(**{field: text})


@pytest.mark.parametrize(("field", "room"), [("producer_version", 32), ("instance_id", 64)])
@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_text_may_fill_its_field_to_the_last_byte(field: str, room: int, character: str) -> None:
    text = character * (room // len(character.encode()))
    assert len(encode_text(field, text)) == room
    assert getattr(to_events(records_of(**{field: text}))[0], field) == text


@given(frequencies, st.lists(st.tuples(timestamps, sequences)))
def test_arrays_and_lists_give_the_same_records(frequency: Frequency, rows: list[tuple[int, int]]) -> None:
    stamps, numbers = [stamp for stamp, _ in rows], [number for _, number in rows]
    listed = build_events(frequency, stamps, numbers, "v", "i")
    arrayed = build_events(frequency, np.array(stamps, "<i8"), np.array(numbers, "<u8"), "v", "i")
    assert listed.dtype == arrayed.dtype == EVENT_DTYPE
    assert listed.tobytes() == arrayed.tobytes()
    assert to_events(listed) == [build_event(frequency, stamp, number, "v", "i") for stamp, number in rows]


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i4", ">i4", ">i8", "<u8", ">u8"])
def test_any_integer_dtype_will_do(dtype: str) -> None:
    values = np.array([1, 2, 127], dtype)
    assert records_of(values, values).tobytes() == records_of([1, 2, 127], [1, 2, 127]).tobytes()


def test_thousands_of_records_are_each_as_if_it_were_alone() -> None:
    records = records_of(range(5000), range(5000, 10_000))
    assert to_records(to_events(records)).tobytes() == records.tobytes()
    assert event_ids(records).tolist() == [f"1-{stamp}-{stamp + 5000}" for stamp in range(5000)]


def test_events_of_several_frequencies_are_built_at_once() -> None:
    mixed = build_mixed_events(FREQUENCIES, range(4), range(4, 8), "v", "i")
    single = [build_event(frequency, frequency - 1, frequency + 3, "v", "i") for frequency in FREQUENCIES]
    assert to_events(mixed) == single


def test_strided_and_reversed_arrays_keep_their_order() -> None:
    stamps, numbers = np.arange(10)[::-2], np.arange(20, dtype=np.uint64)[::4]
    assert event_ids(records_of(stamps, numbers)).tolist() == ["1-9-0", "1-7-4", "1-5-8", "1-3-12", "1-1-16"]


def test_ranges_and_tuples_are_sequences_of_integers() -> None:
    assert event_ids(records_of(range(2), (5, 6))).tolist() == ["1-0-5", "1-1-6"]


def test_arguments_are_not_written_to() -> None:
    stamps, numbers = np.array([3, 4]), np.array([1, 2], np.uint64)
    records_of(stamps, numbers)["timestamp"] = 0
    assert (stamps.tolist(), numbers.tolist()) == ([3, 4], [1, 2])


@pytest.mark.parametrize("empty", [[], (), range(0), np.array([], np.int64), np.array([], np.uint32)], ids=repr)
def test_nothing_gives_no_records(empty: Any) -> None:
    records = records_of(empty, empty)
    assert (records.dtype, records.shape) == (EVENT_DTYPE, (0,))
    assert (to_events(records), event_ids(records).tolist()) == ([], [])


def test_array_whose_integers_do_not_fit_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="an element of timestamps is 9223372036854775808"):
        records_of(np.array([1 << 63]), [1])
    with pytest.raises(InvalidValueError, match="an element of sequences is -1"):
        records_of([0], np.array([-1]))


def test_array_at_the_limits_is_exact() -> None:
    stamps, numbers = np.array([INT64_MAX], np.uint64), np.array([INT64_MAX], np.int64)
    assert event_ids(records_of(stamps, numbers)).tolist() == [f"1-{INT64_MAX}-{INT64_MAX}"]
    assert event_ids(records_of([INT64_MIN], [UINT64_MAX])).tolist() == [f"1-{INT64_MIN}-{UINT64_MAX}"]


def test_list_that_numpy_would_make_floats_of_names_the_number_that_does_not_fit() -> None:
    with pytest.raises(InvalidValueError, match="an element of timestamps is 9223372036854775808"):
        records_of([-1, 1 << 63], [1, 2])


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0]),
        np.array([True]),
        np.array(["1"]),
        np.array([1], object),
        np.array([1 << 64]),
        np.array([-1, 1 << 63]),
        np.array([1], "M8[ns]"),
        np.array([]),
    ],
    ids=lambda array: f"{array.dtype}{array.tolist()}",
)
def test_array_that_is_not_of_integers_is_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(InvalidTypeError, match=r"^timestamps are of dtype .*, expected integers"):
        records_of(array, [1])
    with pytest.raises(InvalidTypeError, match=r"^sequences are of dtype .*, expected integers"):
        records_of([0], array)


@pytest.mark.parametrize(("array", "dimensions"), [(np.array(1), 0), (np.array([[1]]), 2), (np.zeros((0, 2), "i8"), 2)])
def test_array_of_other_than_one_dimension_is_refused(array: npt.NDArray[Any], dimensions: int) -> None:
    with pytest.raises(InvalidValueError, match=f"^timestamps have {dimensions} dimensions, expected one"):
        records_of(array, [1])
    with pytest.raises(InvalidValueError, match=f"^sequences have {dimensions} dimensions, expected one"):
        records_of([0], array)


@pytest.mark.parametrize("values", [1, None, {1}, iter([1]), np.int64(1)], ids=lambda value: type(value).__name__)
def test_what_is_no_sequence_is_refused(values: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"^timestamps are .*, expected an array or a sequence of integers"):
        records_of(values, [1])


@pytest.mark.parametrize(("stamps", "numbers"), [([0, 1], [1]), ([0], [1, 2]), ([], [1]), (np.arange(3), np.arange(2))])
def test_lengths_that_differ_are_refused(stamps: Any, numbers: Any) -> None:
    with pytest.raises(InvalidValueError, match="give one sequence a timestamp"):
        records_of(stamps, numbers)


@given(st.lists(events))
def test_events_survive_the_way_through_records(made: list[Event]) -> None:
    assert to_events(to_records(made)) == made


@given(st.lists(events))
def test_records_survive_the_way_through_events(made: list[Event]) -> None:
    records = to_records(made)
    assert to_records(to_events(records)).tobytes() == records.tobytes()


@given(st.lists(events))
def test_ids_of_records_are_those_of_their_events(made: list[Event]) -> None:
    ids = event_ids(to_records(made))
    assert ids.dtype.kind == "U"
    assert ids.tolist() == [event.id for event in made]


def test_events_of_records_hold_plain_python_values() -> None:
    event = to_events(records_of())[0]
    types = [type(getattr(event, field.name)) for field in dataclasses.fields(Event)]
    assert types == [str, int, Frequency, int, int, int, str, str]


def test_strided_records_are_read_too() -> None:
    records = records_of(range(4), range(4))[::2]
    assert [event.timestamp for event in to_events(records)] == [0, 2]
    assert event_ids(records).tolist() == ["1-0-0", "1-2-2"]


def test_to_records_takes_any_iterable() -> None:
    assert len(to_records(iter([event_of(), event_of(sequence=2)]))) == 2


@pytest.mark.parametrize("events", [event_of(), None, [("1-0-1", 0)], "1-0-1"], ids=lambda value: type(value).__name__)
def test_what_is_no_collection_of_events_has_no_records(events: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"expected (a collection of )?Event"):
        to_records(events)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"id": "1-0-2"}, InvalidValueError),
        ({"seed": 2}, InvalidValueError),
        ({"schema_version": 2}, InvalidValueError),
        ({"timestamp": 1 << 63}, InvalidValueError),
        ({"timestamp": 0.5}, InvalidTypeError),
        ({"sequence": -1}, InvalidValueError),
        ({"frequency": 0}, UnknownFrequencyError),
        ({"instance_id": "x" * 65}, InvalidValueError),
    ],
    ids=repr,
)
def test_event_that_build_event_would_not_make_is_no_record(
    change: dict[str, Any], error: type[InvalidValueError | InvalidTypeError]
) -> None:
    with pytest.raises(error):
        to_records([dataclasses.replace(event_of(), **change)])


@pytest.mark.parametrize(
    ("records", "found"),
    [(np.zeros(1, np.int64), "int64"), ([(0,)], "list"), (records_of()[0], "void"), (None, "NoneType")],
)
@pytest.mark.parametrize("function", [to_events, event_ids])
def test_what_is_no_array_of_records_is_refused(function: Any, records: Any, found: str) -> None:
    with pytest.raises(InvalidTypeError, match=f"records are {found}, expected an array of EVENT_DTYPE"):
        function(records)


@pytest.mark.parametrize("shape", [(), (1, 1), (0, 4)])
@pytest.mark.parametrize("function", [to_events, event_ids])
def test_records_of_other_than_one_dimension_are_refused(function: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValueError, match=f"have {len(shape)} dimensions, expected one"):
        function(np.zeros(shape, EVENT_DTYPE))


def test_record_of_unknown_frequency_is_no_event() -> None:
    with pytest.raises(UnknownFrequencyError, match="unknown frequency 0"):
        to_events(np.zeros(1, EVENT_DTYPE))


@pytest.mark.parametrize("field", ["producer_version", "instance_id"])
def test_record_whose_text_is_no_utf_8_is_no_event(field: str) -> None:
    records = records_of()
    records[field] = b"\xff"
    with pytest.raises(InvalidValueError, match=f"^{field} .* is not UTF-8"):
        to_events(records)
