"""What only the native core has: its offsets, its trust in buffers, and its header under other compilers' eyes."""

from __future__ import annotations

import copy
import gc
import importlib.util
import mmap
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronostream.errors import ClosedError, InvalidTypeError, InvalidValueError
from chronostream.ring import layout, records
from chronostream.ring.core import load_core
from chronostream.ring.layout import Layout
from tests.ring.harness import CORES, ROOT, TIMEOUT_S, Handles, in_thread, wait_for_sleeper

pytestmark = pytest.mark.skipif("native" not in CORES, reason="the native core was not built, and this is not CI")

COMPILER = shutil.which(os.environ.get("CC", "cc"))
SOURCES = ROOT / "chronostream/ring"
needs_compiler = pytest.mark.skipif(COMPILER is None and "CI" not in os.environ, reason="no C compiler")


@pytest.fixture
def core() -> str:
    """The core of every stream here."""
    return "native"


def test_c_and_python_have_the_same_offsets() -> None:
    from chronostream.ring import _native  # noqa: PLC0415 - not there where it was not built

    assert {field: getattr(layout, field) for field in _native.OFFSETS} == _native.OFFSETS
    assert _native.OFFSETS.keys() >= {"CLAIM", "HEAD", "WAKE_SEQ", "STATE", "ALWAYS_WAKE", "WAITING", "LINE"}


def test_calls_leave_none_and_true_as_they_were(own: Handles) -> None:
    """Where they are counted (3.11), a build by a newer Python used them up, until the interpreter gave out."""
    producer, consumer = own.pair()
    producer.publish(1)
    before = sys.getrefcount(None), sys.getrefcount(True)
    for _ in range(10_000):
        producer.publish(1)
        consumer.wait(0)
    after = sys.getrefcount(None), sys.getrefcount(True)
    assert np.abs(np.subtract(after, before)).max() < 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"segment_size": 1 << 20},
        {"capacity": 3},
        {"capacity": 1024},
        {"record_size": 4},
        {"record_size": 12},
        {"records_offset": 4},
        {"records_offset": 1 << 40},
        {"max_consumers": 1 << 20},
    ],
    ids=str,
)
def test_a_layout_that_does_not_fit_its_memory_is_refused(changes: dict[str, int]) -> None:
    planned = Layout.plan(np.dtype("<i8"), 8, 0, 1)
    fields = {field: getattr(planned, field) for field in Layout.__dataclass_fields__} | changes
    with pytest.raises(InvalidValueError, match="does not fit the memory"):
        load_core("native").Writer(mmap.mmap(-1, planned.segment_size), Layout(**fields), False)


def test_a_segment_that_may_not_be_written_gets_no_writer() -> None:
    planned = Layout.plan(np.dtype("<i8"), 8, 0, 1)
    with pytest.raises(BufferError):
        load_core("native").Writer(bytes(planned.segment_size), planned, False)


def test_an_equal_dtype_is_as_good_as_the_rings_own(own: Handles) -> None:
    fields = [("a", "<i8"), ("b", "<u4")]
    producer, consumer = own.pair(fields, 8)
    rows = np.array([(1, 2), (3, 4)], np.dtype(fields))
    assert rows.dtype is not producer.dtype
    out = np.zeros(8, np.dtype(fields))
    for _ in range(3):  # The first time its dtype is compared, then known.
        producer.publish_many(rows)
        producer.publish(rows[0])
        assert consumer.read_into(out) == 3
        assert out[:3].tolist() == [(1, 2), (3, 4), (1, 2)]
    with pytest.raises(InvalidTypeError):
        consumer.read_into(np.zeros(8, "<i8"))


@pytest.mark.parametrize("rows", [np.arange(12)[::3], np.arange(4)[::-1]], ids=["strided", "reversed"])
def test_an_array_in_pieces_is_published_in_its_own_order(own: Handles, rows: np.ndarray[Any, Any]) -> None:
    producer, consumer = own.pair()
    producer.publish_many(rows)
    assert consumer.read().tolist() == rows.tolist()


def test_words_are_copied_from_and_to_any_address(own: Handles) -> None:
    dtype = np.dtype([("text", "S13")])
    producer, consumer = own.pair(dtype, 8)
    raw = np.arange(3 * 13 + 1, dtype=np.uint8) + 1
    rows, out = raw[1:].view(dtype), np.zeros(3 * 13 + 1, np.uint8)
    producer.publish_many(rows)
    assert consumer.read_into(out[1:].view(dtype)) == 3
    assert out[1:].tobytes() == raw[1:].tobytes()


class Closing:
    """A number that closes a handle when somebody asks for its value."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def __int__(self) -> int:
        self.handle.close()
        return 1

    __index__ = __int__


@pytest.mark.parametrize("method", ["publish", "offer", "publish_many"])
def test_a_ring_closed_while_a_record_is_converted_is_not_written(own: Handles, method: str) -> None:
    producer = own.create()
    record: Any = Closing(producer)
    with pytest.raises(ClosedError):
        getattr(producer, method)([record] if method == "publish_many" else record)


def test_a_handle_closed_while_a_thread_waits_lets_the_memory_go_when_that_thread_has_left(own: Handles) -> None:
    producer, consumer = own.pair()
    memory = consumer._segment.memory

    def wait() -> None:
        with pytest.raises(ClosedError):
            consumer._reader.wait(TIMEOUT_S)

    with in_thread(wait):
        wait_for_sleeper(producer)
        consumer.close()
        with pytest.raises(BufferError):
            memory.close()
        producer.publish(1)
    memory.close()


def build(source: Path, target: Path, *flags: str, include: Path = SOURCES) -> Path:
    assert COMPILER is not None, "CI needs a C compiler"
    command = [COMPILER, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{include}"]
    subprocess.run([*command, *flags, str(source), "-o", str(target)], check=True, timeout=TIMEOUT_S)
    return target


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@needs_compiler
@pytest.mark.parametrize("step", ["W1", "W2", "W3"])
def test_a_reader_that_nobody_wakes_any_more_after_a_takeover_does_not_sleep(tmp_path: Path, step: str) -> None:
    done = run(build(ROOT / "tests/ring/protocol_takeover.c", tmp_path / "takeover"), step)
    assert (done.returncode, done.stdout) == (0, "awake\n")


@needs_compiler
@pytest.mark.parametrize(
    ("macro", "value", "message"),
    [
        ("__BYTE_ORDER__", "__ORDER_BIG_ENDIAN__", "a segment is little-endian: no core runs on this machine"),
        ("__GCC_ATOMIC_INT_LOCK_FREE", "1", "a lock behind an atomic is not shared by processes"),
        ("__GCC_ATOMIC_LLONG_LOCK_FREE", "1", "a lock behind an atomic is not shared by processes"),
    ],
)
def test_a_machine_that_the_ring_cannot_run_on_is_refused_when_it_is_built(
    tmp_path: Path, macro: str, value: str, message: str
) -> None:
    (tmp_path / "header.c").write_text('#include "protocol.h"\n')
    flags = ["-std=c11", "-D_GNU_SOURCE", f"-I{SOURCES}", f"-U{macro}", f"-D{macro}={value}", "-fsyntax-only"]
    assert COMPILER is not None, "CI needs a C compiler"
    command = [COMPILER, *flags, "-Wno-builtin-macro-redefined", str(tmp_path / "header.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode != 0
    assert message in done.stderr


def load_again() -> Any:
    """Load the core once more, as another interpreter would; its module is nobody else's."""
    from chronostream.ring import _native  # noqa: PLC0415 - not there where it was not built

    spec = importlib.util.spec_from_file_location(_native.__name__, _native.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_that_is_let_go_takes_all_that_it_held_with_it(own: Handles) -> None:
    held = [np.empty, np.ndarray, np.void, copy.copy, records.record_bytes, records.checked_out, InvalidValueError]
    load_again()
    gc.collect()
    before = [sys.getrefcount(each) for each in held]
    producer = own.create()
    for _ in range(10):
        module = load_again()
        reader = module.Reader(producer._segment.memory, None, producer._layout, None, True, "blocking")
        gone = weakref.ref(module)
        del module
        gc.collect()
        producer.publish(7)
        assert reader.read().tolist()[-1] == 7  # it keeps what it needs
        del reader
        gc.collect()
        assert gone() is None
    assert [sys.getrefcount(each) for each in held] == before


STUBS = """
import sys, types
sys.path[:0] = {path!r}
for name, members in {{
    "numpy": ["empty", "ndarray", "void"],
    "chronostream.ring.records": ["raw_size", "record_bytes", "records_bytes", "checked_limit", "checked_out"],
    "chronostream.errors": ["CorruptSegmentError", "InvalidValueError"],
}}.items():
    module = types.ModuleType(name)
    for member in members:
        setattr(module, member, type(member, (Exception,), {{}}))
    sys.modules[name] = module
for package in ("chronostream", "chronostream.ring"):
    sys.modules[package] = types.ModuleType(package)
import importlib.util
spec = importlib.util.spec_from_file_location("chronostream.ring._native", {file!r})
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
assert native.NAME == "native"
try:
    native.Reader(b"", None, None, None, True, "blocking")
except AttributeError:
    pass  # None is no layout
"""


def test_each_interpreter_has_a_core_of_its_own() -> None:
    """What numpy, which one interpreter only can load, is to the core, stands in for it here."""
    from chronostream.ring import _native  # noqa: PLC0415 - not there where it was not built

    code = STUBS.format(path=sys.path, file=_native.__file__)
    program = f"""
try:
    import _interpreters
    create = lambda: _interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as _interpreters
    import sys
    create = _interpreters.create if sys.version_info < (3, 12) else lambda: _interpreters.create(isolated=False)
for _ in range(5):
    interpreter = create()
    failed = _interpreters.run_string(interpreter, {code!r})
    assert failed is None, failed
    _interpreters.destroy(interpreter)
print("done")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def mutate_headers(folder: Path, right: str, wrong: str) -> None:
    """Copy the headers to a folder, with one line of one of them made wrong."""
    headers = {path.name: path.read_text() for path in SOURCES.glob("*.h")}
    assert sum(header.count(right) for header in headers.values()) == 1
    for file, header in headers.items():
        (folder / file).write_text(header.replace(right, wrong))


SANITIZER = ("-fsanitize=thread", "-g", "-O1")


@needs_compiler
@pytest.mark.parametrize("flags", [SANITIZER, ("-O3",)], ids=["thread-sanitizer", "optimised"])
def test_threads_get_whole_records_in_order_and_know_what_they_lost(tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = run(build(ROOT / "tests/ring/protocol_threads.c", tmp_path / "threads", *flags), "100000")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("received") == 3


@needs_compiler
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (
            "uint64_t word = atomic_load_explicit(cs_u64(from, i * CS_WORD), memory_order_acquire);",
            "uint64_t word = *(uint64_t *)(void *)(from + i * CS_WORD);",
        ),
        (
            "return atomic_load_explicit(cs_u64(r->ring.segment, CS_HEAD), memory_order_acquire);",
            "return *(uint64_t *)(void *)(r->ring.segment + CS_HEAD);",
        ),
    ],
    ids=["words", "head"],
)
def test_thread_sanitizer_finds_a_plain_access(tmp_path: Path, right: str, wrong: str) -> None:
    mutate_headers(tmp_path, right, wrong)
    program = build(ROOT / "tests/ring/protocol_threads.c", tmp_path / "threads", *SANITIZER, include=tmp_path)
    assert "ThreadSanitizer: data race" in run(program, "20000").stderr


@needs_compiler
def test_the_threads_notice_a_reader_that_believes_everything(tmp_path: Path) -> None:
    right = "return claim > r->ring.capacity ? claim - r->ring.capacity : 0;"
    mutate_headers(tmp_path, right, "return claim * 0;")
    program = build(ROOT / "tests/ring/protocol_threads.c", tmp_path / "threads", "-O2", include=tmp_path)
    assert run(program, "1000000").returncode == 1
