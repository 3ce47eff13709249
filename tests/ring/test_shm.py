from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chronostream.errors import (
    AccessDeniedError,
    InvalidNameError,
    InvalidValueError,
    OutOfSharedMemoryError,
    StreamError,
)
from chronostream.ring import shm
from tests.ring.harness import NOBODY, become_nobody, fails, in_fork, needs_root, path_of


@pytest.mark.parametrize("name", ["a", "market-clock", "A.b_c-1", "_", "0", "a..b", "x" * 64])
def test_a_plain_name_gets_the_prefix(name: str) -> None:
    assert shm.segment_name(name) == "chronostream." + name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "a\0b", "a\n", " a", "a b", "-a", ".a", "é", "x" * 65, None, b"a", 7, ("a",)],
    ids=repr,
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: Any) -> None:
    with pytest.raises(InvalidNameError, match="is not a stream name: expected 1 to 64 letters"):
        shm.segment_name(name)


@pytest.mark.parametrize(
    "use",
    [
        shm.create,
        lambda name: shm.open_existing(name, writable=False),
        shm.unlink,
        lambda name: shm.same_file(0, name),
    ],
    ids=["create", "open_existing", "unlink", "same_file"],
)
def test_no_function_takes_a_name_that_climbs_out(use: Callable[[str], object]) -> None:
    with pytest.raises(InvalidNameError):
        use("../tmp/x")


@pytest.mark.usefixtures("fd")
def test_a_new_segment_is_empty_and_its_owners_alone(name: str) -> None:
    found = path_of(name).stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode), found.st_uid) == (0, 0o600, os.geteuid())


@pytest.mark.usefixtures("fd")
def test_creating_is_exclusive(name: str) -> None:
    with pytest.raises(FileExistsError):
        shm.create(name)


def test_descriptors_are_not_inherited_by_other_programs(fd: int, other_fd: int) -> None:
    assert not os.get_inheritable(fd)
    assert not os.get_inheritable(other_fd)


@pytest.mark.parametrize("writable", [False, True])
def test_opening_what_is_not_there_says_so(name: str, writable: bool) -> None:
    with pytest.raises(FileNotFoundError):
        shm.open_existing(name, writable=writable)


@pytest.fixture(params=["symlink", "dangling symlink", "directory", "fifo", "socket"])
def odd(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> Iterator[str]:
    """A name whose file is no regular one."""
    path = path_of(name)
    if request.param == "symlink":
        target = tmp_path / "target"
        target.write_bytes(bytes(5000))
        path.symlink_to(target)
    elif request.param == "dangling symlink":
        path.symlink_to(tmp_path / "nothing")
    elif request.param == "directory":
        path.mkdir()
    elif request.param == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    yield name
    if request.param == "directory":
        path.rmdir()


@pytest.mark.parametrize("writable", [False, True])
def test_what_is_no_regular_file_is_refused_at_once(odd: str, writable: bool) -> None:
    with pytest.raises(AccessDeniedError, match=rf"{odd}.* (remove it|cannot be opened)"):
        shm.open_existing(odd, writable=writable)


def test_what_is_there_instead_and_whose_it_is_are_told(odd: str) -> None:
    kind = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    found = path_of(odd).lstat()
    for writable in (False, True):
        with pytest.raises(
            AccessDeniedError,
            match=f"{odd} is not a regular file but a {kind[stat.S_IFMT(found.st_mode)]} of user {found.st_uid}:",
        ):
            shm.open_existing(odd, writable=writable)


@needs_root
def test_ones_own_segment_with_a_mode_that_keeps_its_owner_out_says_how_to_let_him_in(name: str, fd: int) -> None:
    os.fchown(fd, NOBODY, NOBODY)
    os.fchmod(fd, 0o060)

    def child() -> None:
        become_nobody()
        with pytest.raises(AccessDeniedError, match=rf"has mode 0060; give it mode 0600 \(`chmod 600 {path_of(name)}`"):
            shm.open_existing(name, writable=False)

    assert in_fork(child) == 0


def test_a_symlink_is_not_created_through(name: str, tmp_path: Path) -> None:
    path_of(name).symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        shm.create(name)
    assert not (tmp_path / "target").exists()


@needs_root
@pytest.mark.usefixtures("fd")
def test_another_users_segment_is_refused_unless_asked_for(name: str) -> None:
    os.chown(path_of(name), NOBODY, NOBODY)
    with pytest.raises(AccessDeniedError, match=r"belongs to user 65534, this process is user 0.*any_owner=True"):
        shm.open_existing(name, writable=True)
    os.close(shm.open_existing(name, writable=True, any_owner=True))


@needs_root
@pytest.mark.usefixtures("fd")
def test_a_mode_that_keeps_this_user_out_is_refused(name: str) -> None:
    def child() -> None:
        become_nobody()
        with pytest.raises(AccessDeniedError, match="cannot be opened: Permission denied"):
            shm.open_existing(name, writable=False, any_owner=True)

    assert in_fork(child) == 0


def test_a_mode_and_a_group_by_name_are_given(fd: int) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    shm.permit(fd, 0o640, group)
    found = os.fstat(fd)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, os.getegid())


@needs_root
def test_a_group_by_number_is_given(fd: int) -> None:
    shm.permit(fd, 0o660, 12345)
    assert os.fstat(fd).st_gid == 12345


@needs_root
@pytest.mark.usefixtures("fd")
def test_a_group_that_is_not_ours_to_give_is_refused(name: str) -> None:
    os.chown(path_of(name), NOBODY, NOBODY)

    def child() -> None:
        become_nobody()
        own = shm.open_existing(name, writable=True)
        with pytest.raises(AccessDeniedError, match="cannot be given to group 0: Operation not permitted"):
            shm.permit(own, 0o660, 0)

    assert in_fork(child) == 0


@pytest.mark.parametrize("group", ["no such group", ["x"], 1 << 40, -2], ids=repr)
def test_a_group_that_is_none_is_refused(fd: int, group: Any) -> None:
    with pytest.raises(InvalidValueError, match="group"):
        shm.permit(fd, 0o600, group)


@pytest.mark.parametrize("mode", [-1, 0o1000, 0o4755, "600", None], ids=repr)
def test_a_mode_that_is_none_is_refused(fd: int, mode: Any) -> None:
    with pytest.raises(InvalidValueError, match="expected permissions from 0 to 0o777"):
        shm.permit(fd, mode, None)


@pytest.mark.parametrize("mode", [0, 0o060, 0o200, 0o400, 0o466])
def test_a_mode_by_which_the_owner_cannot_read_and_write_is_refused(fd: int, mode: int) -> None:
    with pytest.raises(InvalidValueError, match=f"mode is {mode:#o}, expected .* by which the owner reads and writes"):
        shm.permit(fd, mode, None)


def test_reserving_makes_the_segment_as_long_and_takes_the_memory(fd: int) -> None:
    shm.reserve(fd, 8192)
    found = os.fstat(fd)
    assert (found.st_size, found.st_blocks * 512) == (8192, 8192)


@pytest.mark.parametrize("size", [1 << 46, (1 << 63) - 1])
def test_more_than_there_is_cannot_be_reserved(fd: int, size: int) -> None:
    with pytest.raises(OutOfSharedMemoryError, match=rf"no room for a segment of {size} bytes, \d+ are free"):
        shm.reserve(fd, size)


def test_reading_gives_the_front_or_what_there_is(fd: int) -> None:
    assert shm.read(fd, 10) == b""
    shm.reserve(fd, 8)
    shm.write(fd, 3, b"abc")
    assert shm.read(fd, 6) == b"\0\0\0abc"
    assert shm.read(fd, 100) == b"\0\0\0abc\0\0"


@pytest.mark.usefixtures("fd")
def test_unlinking_twice_is_no_error(name: str) -> None:
    shm.unlink(name)
    shm.unlink(name)
    assert not path_of(name).exists()


def test_a_name_leads_to_its_segment_until_it_is_removed_or_made_anew(fd: int, name: str) -> None:
    assert shm.same_file(fd, name)
    shm.unlink(name)
    assert not shm.same_file(fd, name)
    os.close(shm.create(name))
    assert not shm.same_file(fd, name)


@pytest.mark.usefixtures("fd")
def test_the_list_has_what_is_there_and_nothing_that_could_not_be_ours(name: str) -> None:
    odd = [path_of("x").with_name(each) for each in ("chronostream. odd", "chronostream." + "x" * 65, f"not-{name}")]
    for path in odd:
        path.touch()
    try:
        names = shm.list_names()
    finally:
        for path in odd:
            path.unlink()
    assert name in names
    assert not {" odd", "x" * 65} & set(names)
    assert names == sorted(names)


def test_without_a_directory_there_are_no_streams_and_none_can_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shm, "_DIRECTORY", tmp_path / "nothing")
    assert shm.list_names() == []
    with pytest.raises(AccessDeniedError, match=r"there is no .*/nothing here, where segments are made"):
        shm.create("x")


def test_a_pid_namespace_has_a_number_that_children_share() -> None:
    here = shm.pid_namespace()
    assert here > 0

    def child() -> None:
        assert shm.pid_namespace() == here

    assert in_fork(child) == 0


@pytest.mark.parametrize(
    ("number", "error", "advice"),
    [
        (errno.EACCES, AccessDeniedError, "Permission denied"),
        (errno.EPERM, AccessDeniedError, "Operation not permitted"),
        (errno.EROFS, AccessDeniedError, "mount /dev/shm writable"),
        (errno.ENOSPC, OutOfSharedMemoryError, "use a smaller capacity"),
        (errno.EDQUOT, OutOfSharedMemoryError, "this user's quota is used up"),
        (errno.EFBIG, OutOfSharedMemoryError, "raise `ulimit -f`"),
        (errno.ENOMEM, OutOfSharedMemoryError, "raise `ulimit -v`"),
        (errno.EAGAIN, OutOfSharedMemoryError, "raise `ulimit -l`"),
        (errno.EMFILE, StreamError, "raise `ulimit -n`"),
        (errno.ENFILE, StreamError, "raise `sysctl fs.file-max`"),
        (errno.EIO, StreamError, "Input/output error"),
    ],
)
def test_whatever_the_system_says_becomes_an_error_of_ours(number: int, error: type[StreamError], advice: str) -> None:
    with (
        pytest.raises(error, match=f"^it cannot be done: .*{advice}") as caught,
        shm.system_errors("it cannot be done"),
    ):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is error
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("answer", [FileNotFoundError, FileExistsError])
def test_whether_a_file_is_there_is_an_answer_not_an_error_of_the_system(answer: type[OSError]) -> None:
    with pytest.raises(answer), shm.system_errors("it cannot be done"):
        raise answer


@pytest.mark.parametrize(
    ("module", "function", "use"),
    [
        (os, "open", lambda name, _: shm.create(name + "-new")),
        (os, "open", lambda name, _: shm.open_existing(name, writable=False)),
        (os, "listdir", lambda *_: shm.list_names()),
        (os, "unlink", lambda name, _: shm.unlink(name)),
        (os, "stat", lambda name, fd: shm.same_file(fd, name)),
        (os, "fchmod", lambda _, fd: shm.permit(fd, 0o600, None)),
        (os, "fchown", lambda _, fd: shm.permit(fd, 0o600, os.getegid())),
        (os, "posix_fallocate", lambda _, fd: shm.reserve(fd, 8)),
        (os, "ftruncate", lambda _, fd: shm.clear(fd)),
        (os, "pread", lambda _, fd: shm.read(fd, 8)),
        (os, "pwrite", lambda _, fd: shm.write(fd, 0, b"x")),
    ],
)
@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENFILE, errno.EIO, errno.ENOLCK])
def test_no_function_lets_an_error_of_the_system_through(
    name: str, fd: int, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, use: Any, number: int
) -> None:
    monkeypatch.setattr(module, function, fails(number))
    with pytest.raises(StreamError) as caught:
        use(name, fd)
    monkeypatch.undo()
    assert isinstance(caught.value.__cause__, OSError)


@needs_root
def test_a_name_that_another_user_took_says_whose_it_is(name: str, fd: int) -> None:
    os.fchown(fd, 4711, 4711)

    def child() -> None:
        become_nobody()
        for writable in (False, True):
            with pytest.raises(
                AccessDeniedError, match=f"{name} belongs to user 4711 and has mode 0600; ask that user, or use another"
            ):
                shm.open_existing(name, writable=writable)

    assert in_fork(child) == 0


@needs_root
def test_another_users_segment_cannot_be_deleted_and_says_whose_it_is(name: str, fd: int) -> None:
    assert fd >= 0

    def child() -> None:
        become_nobody()
        with pytest.raises(AccessDeniedError, match=f"'{name}' cannot be deleted: .* belongs to user 0 and has mode"):
            shm.unlink(name)

    assert in_fork(child) == 0
    assert path_of(name).exists()
