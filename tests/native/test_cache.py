"""The cache on disk gives back what was put in or nothing, and loads nothing that others can write."""

import os
import resource
import stat
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from graphcnn_native.runtime import cache
from graphcnn_native.target import named_target

TARGET = named_target("avx2")
KEY = cache.key("text", TARGET, "options")
OTHER = cache.key("other text", TARGET, "options")
PARTS = ("triple", "cpu", "features")
CODE = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def only_entry(folder):
    (path,) = folder.iterdir()
    return path


def test_what_is_stored_is_loaded(folder):
    assert cache.load(KEY) is None
    cache.store(KEY, CODE)
    assert cache.load(KEY) == CODE
    assert cache.load(OTHER) is None
    assert len(entries(folder)) == 1


def test_what_there_is_of_many_is_loaded_at_once(folder):
    keys = [cache.key(str(number), TARGET, "") for number in range(4)]
    for key in keys[:3]:
        cache.store(key, key.encode())
    (folder / f"{keys[1]}.object").write_bytes(b"damaged")
    assert cache.load_all(keys) == {key: key.encode() for key in (keys[0], keys[2])}
    assert cache.load_all([]) == {}


def test_storing_again_replaces():
    cache.store(KEY, CODE)
    cache.store(KEY, b"new")
    assert cache.load(KEY) == b"new"


def test_all_that_decides_the_machine_code_is_in_the_key(monkeypatch):
    keys = {
        KEY,
        OTHER,
        cache.key("text", TARGET, "other options"),
        cache.key("tex", TARGET, "toptions"),
        *(cache.key("text", replace(TARGET, **{part: "x"}), "options") for part in PARTS),
    }
    for module in ("graphcnn.__version__", "llvmlite.__version__", "llvmlite.binding.llvm_version_info"):
        with monkeypatch.context() as patch:
            patch.setattr(module, "9")
            keys.add(cache.key("text", TARGET, "options"))
    assert len(keys) == 10
    assert cache.key("text", TARGET, "options") == KEY


def test_every_damage_is_noticed_and_mended(folder):
    cache.store(KEY, CODE)
    path = only_entry(folder)
    whole = path.read_bytes()
    places = {*range(200), *range(200, len(whole), 97), len(whole) - 1}
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.load(KEY) is None, place
    for length in (0, 1, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert cache.load(KEY) is None, length
    path.write_bytes(whole + b"x")
    assert cache.load(KEY) is None
    cache.store(KEY, CODE)
    assert cache.load(KEY) == CODE


def test_an_entry_under_another_name_is_not_loaded(folder):
    cache.store(KEY, CODE)
    path = only_entry(folder)
    path.rename(path.with_name(path.name.replace(KEY, OTHER)))
    assert cache.load(OTHER) is None


def test_folder_and_entries_are_private_whatever_the_umask(folder):
    mask = os.umask(0)
    try:
        cache.store(KEY, CODE)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(only_entry(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(folder, mode):
    cache.store(KEY, CODE)
    folder.chmod(mode)
    assert cache.load(KEY) is None
    cache.store(OTHER, CODE)
    assert len(entries(folder)) == 1


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_can_write_is_not_loaded(folder, mode):
    cache.store(KEY, CODE)
    only_entry(folder).chmod(mode)
    assert cache.load(KEY) is None


def test_what_another_user_owns_is_not_used(monkeypatch, folder):
    cache.store(KEY, CODE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
        assert cache.load(KEY) is None
        cache.store(OTHER, CODE)
    assert len(entries(folder)) == 1
    assert cache.load(KEY) == CODE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_entry_of_another_user_in_our_folder_is_not_loaded(folder):
    cache.store(KEY, CODE)
    os.chown(only_entry(folder), 12345, -1)
    assert cache.load(KEY) is None


def test_a_symbolic_link_is_not_followed(folder, tmp_path):
    cache.store(KEY, CODE)
    path = only_entry(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.load(KEY) is None
    cache.store(KEY, CODE)
    assert not path.is_symlink()
    assert cache.load(KEY) == CODE

    folder.rename(tmp_path / "real")
    folder.symlink_to(tmp_path / "real")
    assert cache.load(KEY) is None


def test_a_pipe_in_place_of_an_entry_is_not_waited_for(folder):
    cache.store(KEY, CODE)
    path = only_entry(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert cache.load(KEY) is None


def test_a_place_that_is_no_folder_means_no_cache(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "cache", "/dev/null", "/proc/nowhere"):
        monkeypatch.setenv("GRAPHCNN_CACHE", str(place))
        cache.store(KEY, CODE)
        assert cache.load(KEY) is None


@pytest.mark.parametrize("value", ["off", ""])
def test_it_can_be_turned_off(monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GRAPHCNN_CACHE", value)
    cache.store(KEY, CODE)
    assert cache.load(KEY) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"GRAPHCNN_CACHE": "{}/chosen/deeper"}, "chosen/deeper"),
        ({"GRAPHCNN_CACHE": "~/mine"}, "home/mine"),
        ({"XDG_CACHE_HOME": "{}/caches"}, "caches/graphcnn"),
        ({"XDG_CACHE_HOME": "relative"}, "home/.cache/graphcnn"),
        ({"XDG_CACHE_HOME": ""}, "home/.cache/graphcnn"),
        ({}, "home/.cache/graphcnn"),
    ],
)
def test_where_it_is(monkeypatch, tmp_path, variables, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("GRAPHCNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    cache.store(KEY, CODE)
    assert len(entries(tmp_path / place)) == 1
    assert cache.load(KEY) == CODE


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", "~nobody-of-this-name/cache")
    cache.store(KEY, CODE)
    assert cache.load(KEY) is None


def test_a_full_disk_is_survived_and_leaves_nothing(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        cache.store(KEY, CODE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert entries(folder) == []
    assert cache.load(KEY) is None


@pytest.fixture
def always_tidied(monkeypatch):
    """Let every entry have the folder tidied, not one in many."""
    monkeypatch.setattr(cache, "_TIDIED_AT", "")


def test_the_least_recently_used_are_removed_beyond_the_bound(monkeypatch, folder, always_tidied):
    keys = [cache.key(str(number), TARGET, "") for number in range(4)]
    for age, key in enumerate(keys[:3]):
        cache.store(key, CODE)
        os.utime(folder / f"{key}.object", (1000 + age, 1000 + age))
    monkeypatch.setattr(cache, "_MOST_BYTES", int(3.5 * len(CODE)))
    assert cache.load(keys[0]) == CODE
    cache.store(keys[3], CODE)
    assert [cache.load(key) is not None for key in keys] == [True, False, True, True]


def test_one_entry_in_many_has_the_folder_tidied(monkeypatch, folder):
    keys = [f"{number:03x}" + KEY[3:] for number in range(1500)]
    tidied = []
    monkeypatch.setattr(cache, "_remove_oldest", lambda _: tidied.append(len(entries(folder))))
    for key in keys:
        cache.store(key, b"code")
    assert tidied == [1]


def test_code_beyond_the_bound_is_not_stored(monkeypatch, folder):
    cache.store(KEY, CODE)
    monkeypatch.setattr(cache, "_MOST_BYTES", len(CODE) + 1000)
    cache.store(OTHER, CODE * 2)
    assert cache.load(OTHER) is None
    assert cache.load(KEY) == CODE


def test_only_its_own_files_are_removed(monkeypatch, folder, always_tidied):
    cache.store(KEY, CODE)
    interrupted = f".{OTHER}.{'0' * 16}.part"
    running = f".{OTHER}.{'1' * 16}.part"
    for name in ("notes.txt", "x.object", ".hidden.part", interrupted, running):
        (folder / name).write_bytes(CODE)
    long_ago = time.time() - 100_000
    for name in ("notes.txt", "x.object", ".hidden.part", interrupted):
        os.utime(folder / name, (long_ago, long_ago))
    (folder / f"{'a' * 64}.object").mkdir()
    cache.store(OTHER, CODE)
    assert interrupted not in entries(folder)
    assert {"notes.txt", "x.object", ".hidden.part", running} <= set(entries(folder))
    assert cache.load(KEY) == cache.load(OTHER) == CODE


def test_processes_share_it_without_seeing_halves(folder):
    code = (
        "from graphcnn_native.runtime import cache\n"
        "cache._MOST_BYTES, cache._TIDIED_AT = 300_000, ''\n"
        "keys = [str(number) * 64 for number in range(6)]\n"
        "whole = 0\n"
        "for turn in range(200):\n"
        "    key = keys[turn // 2 % 6]\n"
        "    found = cache.load(key)\n"
        "    assert found in (None, key.encode() * 1000)\n"
        "    whole += found is not None\n"
        "    cache.store(key, key.encode() * 1000)\n"
        "print(whole)\n"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True) for _ in range(2)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert int(output) > 0
    assert all(name.endswith(".object") for name in entries(folder))
