"""Writing files: whole or not at all, through links, with permissions kept, and nothing left behind."""

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import FileError, GraphcnnError, OptionError
from graphcnn.interchange import files
from graphcnn.interchange.files import make_folder, require_place, write_atomically

posix = pytest.mark.skipif(os.name != "posix", reason="links, locks and permissions are POSIX's")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def run(script, *arguments):
    """Run a script in another process and return how it ended."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *arguments], timeout=60).returncode


@pytest.mark.parametrize("broken", ["fsync", "replace", "fchmod"])
def test_a_write_that_fails_leaves_the_old_file_and_names_it(file, monkeypatch, broken):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(file, b"new")
    monkeypatch.undo()
    assert caught.value.filename == str(file)
    assert file.read_bytes() == b"old"
    assert names(file.parent) == [file.name]
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


@posix
def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_the_end(file, monkeypatch):
    events, sync, replace = [], os.fsync, os.replace

    def note_sync(handle):
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def note_name(*paths):
        events.append("name")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_name)
    write_atomically(file, b"new")
    assert events == ["file", "name", "folder"]


@posix
def test_folders_that_are_made_are_on_the_disk_with_those_they_are_in(tmp_path, monkeypatch):
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), sync(handle)))
    make_folder(tmp_path / "runs" / "first")
    assert (tmp_path / "runs" / "first").is_dir()
    assert sorted(synced) == sorted(each.stat().st_ino for each in (tmp_path, tmp_path / "runs"))
    make_folder(tmp_path / "runs" / "first")
    assert len(synced) == 2
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(FileExistsError, match="file"):
        make_folder(file)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_an_interrupt_leaves_the_old_file(file, monkeypatch, broken):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, broken, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert names(file.parent) == [file.name]


@pytest.mark.filterwarnings("ignore:unclosed file")
def test_an_interrupt_at_any_line_leaves_the_old_file_or_the_new_one(file):
    """Interrupt the writing at its first line, then at its second, and so on until it is through."""
    lines, is_through = 0, False
    while not is_through:
        lines += 1
        left = lines

        def interrupt(frame, event, argument):
            nonlocal left
            if frame.f_code.co_filename != files.__file__:
                return None
            left -= event == "line"
            if not left:
                raise KeyboardInterrupt
            return interrupt

        file.write_bytes(b"old")
        sys.settrace(interrupt)
        try:
            write_atomically(file, b"new")
            is_through = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert file.read_bytes() in (b"old", b"new")
        write_atomically(file, b"newer")
        assert file.read_bytes() == b"newer"
        assert names(file.parent) == [file.name]
    assert lines > 30


KILLED = """
    import os, signal, sys
    from graphcnn.interchange.files import write_atomically
    setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    write_atomically(sys.argv[1], b"new")
"""


@posix
@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_what_a_kill_leaves_goes_with_the_next_file_in_the_folder(file, at):
    assert run(KILLED, str(file), at) == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    (part,) = set(names(file.parent)) - {file.name}
    assert files.PART.fullmatch(part)
    write_atomically(file.parent / "other.csv", b"new")
    assert names(file.parent) == [file.name, "other.csv"]


@posix
def test_what_others_are_writing_is_left_alone(file, monkeypatch):
    def write_another(*_):
        monkeypatch.undo()
        write_atomically(file.parent / "other", b"other")

    monkeypatch.setattr(os, "fsync", write_another)
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert names(file.parent) == [file.name, "other"]


@posix
def test_a_part_that_is_cleaned_away_before_it_is_locked_is_made_again(file, monkeypatch):
    lock, losses = files.fcntl.flock, []

    def lose(handle, how):
        if not losses:
            (part,) = file.parent.glob(".graphcnn-*.part")
            losses.append(part)
            part.unlink()
        lock(handle, how)

    monkeypatch.setattr(files.fcntl, "flock", lose)
    write_atomically(file, b"new")
    assert len(losses) == 1
    assert file.read_bytes() == b"new"
    assert names(file.parent) == [file.name]


@posix
def test_only_own_parts_are_removed(file):
    target = file.parent / "precious"
    target.write_text("x")
    (file.parent / ".graphcnn-0123456789abcdef.part").symlink_to(target)
    (file.parent / ".model.part").touch()
    os.mkfifo(file.parent / ".graphcnn-fedcba9876543210.part.fifo")
    write_atomically(file, b"new")
    assert target.read_text() == "x"
    assert (file.parent / ".model.part").exists()
    assert (file.parent / ".graphcnn-fedcba9876543210.part.fifo").exists()


@posix
@pytest.mark.parametrize("target", ["there", "not there"])
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path, target):
    (tmp_path / "store").mkdir()
    stored, link = tmp_path / "store" / "weights", tmp_path / "latest"
    if target == "there":
        stored.write_bytes(b"old")
    link.symlink_to(Path("store") / "weights")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert stored.read_bytes() == b"new"
    assert names(tmp_path / "store") == ["weights"]


@posix
def test_a_files_permissions_and_owner_stay(file):
    file.chmod(0o640)
    before = file.stat()
    write_atomically(file, b"new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (file.stat().st_uid, file.stat().st_gid) == (before.st_uid, before.st_gid)
    if os.geteuid() == 0:
        os.chown(file, 1234, 4321)
        write_atomically(file, b"newer")
        assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


@posix
def test_the_mask_of_the_process_holds_and_is_never_touched(tmp_path, monkeypatch):
    mask = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        write_atomically(tmp_path / "new", b"new")
    finally:
        monkeypatch.undo()
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.parametrize("length", [250, 255])
def test_names_as_long_as_the_system_allows(tmp_path, length):
    write_atomically(tmp_path / ("n" * length), b"new")
    assert names(tmp_path) == ["n" * length]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder") as caught:
        write_atomically(tmp_path / "missing" / "model.safetensors", b"new")
    assert isinstance(caught.value, GraphcnnError)
    assert str(tmp_path / "missing") in str(caught.value)
    assert ".part" not in str(caught.value)
    assert caught.value.errno == errno.ENOENT


def test_what_is_no_place_for_a_file(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for path in (tmp_path, tmp_path / "full", f"{tmp_path}/new/", ".", tmp_path / ".."):
        with pytest.raises(OSError, match="is a folder, and not a file"):
            require_place(path)
    for path in ("", "a\0b", None, b"bytes", 3):
        with pytest.raises(OptionError, match="path"):
            require_place(path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        require_place(tmp_path / "full" / "x" / "under a file")
    with pytest.raises(OSError, match="too long") as caught:
        require_place(tmp_path / ("n" * 256))
    assert caught.value.errno == errno.ENAMETOOLONG


@posix
def test_a_pipe_or_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OSError, match="is a device or a pipe"):
            write_atomically(path, b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_in_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=tmp_path.name):
        require_place(tmp_path / "new")


def model():
    return gcn.compile(gcn.Sequential(gcn.Flatten(), gcn.Dense(2)), input_shape=(2, 2, 1), backend="numpy")


WRITERS = {
    "a model": lambda path: model().save(path),
    "weights": lambda path: model().save_weights(path),
    "a page": lambda path: model().show(path, open=False, kernels=False),
    "a history": lambda path: gcn.History([{"loss": 1.0}]).to_csv(path),
    "a trace": lambda path: traced().write_chrome_trace(path),
    "a picture": lambda path: picture().save(path),
}


def traced():
    native = gcn.compile(gcn.Sequential(gcn.Flatten(), gcn.Dense(2)), input_shape=(2, 2, 1))
    return native.profile(np.ones((1, 2, 2, 1), np.float32), repeats=1, warmup=0)


def picture():
    pytest.importorskip("matplotlib")
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.Flatten(), gcn.Dense(2))
    convolutional = gcn.compile(network, input_shape=(4, 4, 1), backend="numpy")
    return convolutional.inspect(np.ones((1, 4, 4, 1), np.float32)).feature_maps("conv1")


@pytest.mark.parametrize("what", WRITERS)
def test_everything_is_written_that_way(tmp_path, monkeypatch, what):
    write, path = WRITERS[what], tmp_path / ("file.html" if what == "a page" else "file.png")
    write(path)
    old = path.read_bytes()

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert names(tmp_path) == [path.name]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write(tmp_path / "missing" / path.name)


def test_a_path_that_is_none_to_load_from(tmp_path):
    for path in (None, b"bytes", "a\0b", ""):
        with pytest.raises(OptionError, match="path"):
            gcn.load(path)
    with pytest.raises(FileError, match="does not exist"):
        gcn.load(tmp_path / "missing")
