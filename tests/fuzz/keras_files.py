"""A file of weights that Keras wrote, the network that they belong to, and attacks made of that file."""

import functools
import struct
from pathlib import Path

from attack import Attack

import graphcnn as gcn

FILE = Path(__file__).parents[1] / "interchange" / "made_by_keras" / "network.weights.h5"


def network(head: str = "head", units: int = 3, *, slope_of_each: bool = True) -> gcn.Network:
    """Return the network of `made_by_keras/make.py`, whose layer `flipped` is a convolution here."""
    x = gcn.Input((6, 5, 2), name="image")
    y = gcn.BatchNorm2d(name="bn1")(gcn.Conv2d(4, 3, padding=1, bias=False, name="conv1")(x))
    y = gcn.PReLU(per_channel=slope_of_each, name="slopes")(y)
    y = gcn.Conv2d(8, 3, padding=1, groups=4, name="depthwise")(y)
    y = gcn.Conv2d(4, 3, padding=1, groups=2, name="block.grouped")(y)
    y = gcn.GroupNorm(3, name="norm")(gcn.ConvTranspose2d(3, 2, name="up")(y))
    y = gcn.Conv2d(2, 2, flip=True, name="flipped")(y)
    return gcn.Network(x, gcn.Dense(units, name=head)(gcn.Flatten()(y)))


@functools.cache
def _model() -> gcn.Model:
    return gcn.compile(network(), backend="numpy")


def keras_files() -> list[bytes]:
    return [FILE.read_bytes()]


def read_keras(path: Path) -> None:
    _model().load_weights(path, layout="keras")


def _changed(old: bytes, new: bytes) -> bytes:
    content = FILE.read_bytes()
    place = content.index(old)
    return content[:place] + new + content[place + len(old) :]


def _with_number(place: int, number: int, size: int = 8) -> bytes:
    content = FILE.read_bytes()
    return content[:place] + number.to_bytes(size, "little") + content[place + size :]


def _find(sign: bytes) -> int:
    return FILE.read_bytes().index(sign)


ROOT = 96
"""Where the root group's header is, in files as h5py writes them."""
HEAD = struct.pack("<2Q", 60, 3)
"""The sizes of the dense layer's weights, and behind them how large they may become."""

KERAS_ATTACKS = {
    "a group within itself": Attack(
        "Keras", "CWE-835", lambda: _with_number(_find(b"SNOD") + 16, ROOT), "more than 24 deep"
    ),
    "an index that leads to itself": Attack(
        "Keras", "CWE-835", lambda: _with_number(_find(b"TREE") + 32, _find(b"TREE")), "whole file"
    ),
    "an array of an exabyte": Attack(
        "Keras", "CWE-789", lambda: _changed(HEAD, struct.pack("<2Q", 2**55, 3)), "larger than it is"
    ),
    "arrays that are all the file": Attack(
        "Keras", "CWE-190", lambda: _changed(HEAD, struct.pack("<2Q", 2**32, 2**32)), "larger than it is"
    ),
    "a heap of 4 GiB": Attack("Keras", "CWE-789", lambda: _with_number(_find(b"HEAP") + 8, 2**32), "cut off"),
    "a text of 4 GiB": Attack(
        "Keras", "CWE-789", lambda: _with_number(_find(b"GCOL") + 8, 2**32), "whole file"
    ),
    "an address beyond the file": Attack(
        "Keras",
        "CVE-2019-8396 (HDF5)",
        lambda: _with_number(_find(b"SNOD") + 16, 2**40),
        "points to",
    ),
    "a name without end": Attack(
        "Keras", "CWE-125", lambda: _with_number(_find(b"SNOD") + 8, 2**30), "whole file"
    ),
}
