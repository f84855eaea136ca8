"""Files are written whole or not at all, and a run has one writer."""

import errno
import fcntl
import os
import resource
import signal
import stat
import time

import h5py
import numpy as np
import pytest

from globals_heads.errors import UserError
from globals_heads.files import (
    atomic_path,
    is_locked,
    new_hdf5,
    open_hdf5,
    remove_leftovers,
    require_disk_space,
    run_lock,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_written_file_is_as_readable_as_any_other(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "text\n")
    (tmp_path / "b.txt").write_text("text\n")
    modes = [stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("new/a.txt", "b.txt")]
    assert modes[0] == modes[1]
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"text\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a\.txt cannot be written .*work in another"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_a_disk_that_fills_up_while_writing(tmp_path):
    path = tmp_path / "a.txt"
    with (
        pytest.raises(UserError, match=r"a\.txt cannot be written .*No space left.*make room"),
        atomic_path(path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_of_hdf5_leaves_the_old_file_and_no_litter(tmp_path):
    """HDF5 on its own would crash when this process ends; full disks: test_full_disk.py."""
    path = tmp_path / "a.h5"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with (
            pytest.raises(UserError, match=r"a\.h5 cannot be written \(File too large\)"),
            new_hdf5(path) as file,
        ):
            file["values"] = range(1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_reading_hdf5_has_time_that_grows_with_the_file(tmp_path, monkeypatch, capsys):
    """A minute for its structure, another second for each MiB, and none once it is read."""
    with new_hdf5(tmp_path / "a.h5") as file:
        file["zeros"] = np.zeros(3 * 2**20, np.uint8)
    alarms = []
    monkeypatch.setattr(signal, "alarm", alarms.append)
    with open_hdf5(tmp_path / "a.h5", "is bad", "delete it") as file:
        assert alarms == [63]
        assert not file["zeros"][...].any()
    assert alarms == [63, 0]
    assert "Reading " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("X"), r"a\.h5 is bad \(KeyError: 'X'\); delete it\."),
        (UserError("Its own sentence."), r"^Its own sentence\.$"),
    ],
)
def test_errors_while_reading_hdf5_become_one_sentence(tmp_path, error, message):
    h5py.File(tmp_path / "a.h5", "w").close()
    with (
        pytest.raises(UserError, match=message),
        open_hdf5(tmp_path / "a.h5", "is bad", "delete it"),
    ):
        raise error
    assert signal.alarm(0) == 0


def give_up():
    """Wait for no other process."""
    raise AssertionError


def test_a_folder_has_one_writer(tmp_path, capsys):
    """The second writer waits and says for whom, until it gives up; a later one does not wait."""
    given_up_at = time.monotonic() + 1.5

    def give_up():
        if time.monotonic() > given_up_at:
            raise InterruptedError

    with (
        run_lock(tmp_path, give_up),
        pytest.raises(InterruptedError),
        run_lock(tmp_path, give_up),
    ):
        pass
    with run_lock(tmp_path, give_up):
        pass
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Waiting for another process that still trains ")
    assert f"(process {os.getpid()} on " in line


def test_what_goes_wrong_while_the_lock_is_held_is_no_conflict(tmp_path):
    with pytest.raises(BlockingIOError), run_lock(tmp_path, give_up):
        raise BlockingIOError


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    """Nothing is trained without a lock; who only asks gets an answer."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(UserError, match=r"\.lock has no locks .*mount it"),
        run_lock(tmp_path, give_up),
    ):
        raise AssertionError
    assert not is_locked(tmp_path)


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    with (
        pytest.raises(UserError, match=r"nowhere/\.lock cannot be opened .*give the folder"),
        run_lock(tmp_path / "nowhere", give_up),
    ):
        pass


def test_leftovers_of_a_killed_process_go(tmp_path):
    for name in (".a.txt.x1", ".b.txt.x2", "a.txt"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path / "a.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.txt.x2", "a.txt"]


def test_a_file_system_that_cannot_sync_folders_will_do(tmp_path, monkeypatch):
    """Others fail as any write does."""
    sync = os.fsync

    def refuse(code):
        def fsync(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(code, os.strerror(code))
            sync(descriptor)

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    write_text(tmp_path / "a.txt", "text")
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(UserError, match=r"b\.txt cannot be written"):
        write_text(tmp_path / "b.txt", "text")


def test_disk_space_is_asked_of_the_nearest_folder(tmp_path):
    path = tmp_path / "not" / "yet" / "there"
    require_disk_space(path, 1)
    with pytest.raises(UserError, match=r"needs 1099511627776\.0 MiB .*make room"):
        require_disk_space(path, 2**60)
