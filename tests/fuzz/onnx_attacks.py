"""One file for each known class of attacks on ONNX files; the folder of `beside_onnx` lies around them."""

from collections.abc import Callable, Sequence

import numpy as np
from attack import Attack

HUGE = 2**62
_GRAPH, _NODE, _ATTRIBUTE, _G = 7, 1, 5, 6
"""Fields of ModelProto, GraphProto, NodeProto and AttributeProto that messages lie within each other by."""


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _graphs_within_graphs(count: int) -> bytes:
    content = b""
    for _ in range(count):
        content = _field(_NODE, _field(_ATTRIBUTE, _field(_G, content)))
    return _field(_GRAPH, content)


def _text(text: str) -> Callable[[], bytes]:
    """Return what makes a model of the text of onnx.parser, after the head."""

    def make() -> bytes:
        from onnx import parser

        head = '<ir_version: 9, opset_import: ["" : 20, "own" : 1]>\n'
        return parser.parse_model(head + text).SerializeToString()

    return make


def _weights(shape: Sequence[int], **changed: object) -> Callable[[], bytes]:
    """Return what makes a model that multiplies by a tensor of this shape, held as `changed` says."""

    def make() -> bytes:
        import onnx

        tensor = onnx.TensorProto(name="weights", data_type=onnx.TensorProto.FLOAT, dims=shape)
        where = changed.pop("where", None)
        if where is not None:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in where.items():
                tensor.external_data.add(key=key, value=value)
        for name, value in changed.items():
            setattr(tensor, name, value)
        return _model([onnx.helper.make_node("MatMul", ["x", "weights"], ["y"])], [tensor])

    return make


def _model(nodes: Sequence[object], tensors: Sequence[object] = (), inputs: Sequence[str] = ("x",)) -> bytes:
    from onnx import TensorProto, helper

    takes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in inputs]
    gives = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "attack", takes, gives, tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    ).SerializeToString()


def _beside(location: str, **where: str) -> Callable[[], bytes]:
    return _weights([4, 3], where={"location": location, **where})


def _constants(operator: str, arrays: Sequence[np.ndarray], **attributes: object) -> Callable[[], bytes]:
    """Return what makes a model with a node of constants alone, and what it makes added to the input."""

    def make() -> bytes:
        from onnx import helper, numpy_helper

        names = [f"c{number}" for number in range(len(arrays))]
        tensors = [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
        nodes = [
            helper.make_node(operator, names, ["h"], **attributes),
            helper.make_node("Add", ["x", "h"], ["y"]),
        ]
        return _model(nodes, tensors)

    return make


def _doubling() -> bytes:
    """Return a model whose functions call one another twice, thirty deep."""
    calls = "\n".join(
        f'<domain: "own", opset_import: ["" : 20, "own" : 1]>\n'
        f"f{number} (a) => (c) {{ b = own.f{number + 1}(a) c = own.f{number + 1}(b) }}"
        for number in range(30)
    )
    last = '<domain: "own", opset_import: ["" : 20]>\nf30 (a) => (b) { b = Neg(a) }'
    return _text(f"attack (float[N] x) => (float[N] y) {{ y = own.f0(x) }}\n{calls}\n{last}")()


def _with_version(version: int) -> bytes:
    import onnx

    model = onnx.load_from_string(_text("attack (float[N] x) => (float[N] y) { y = Neg(x) }")())
    model.opset_import[0].version = version
    return model.SerializeToString()


def _sequences_of_sequences() -> bytes:
    from onnx import TypeProto, helper

    within = _field(4, b"")  # TypeProto.sequence_type, of which elem_type is field 1
    for _ in range(10**4):
        within = _field(4, _field(1, within))
    node = helper.make_node("Neg", ["x"], ["y"]).SerializeToString()
    assert TypeProto.DESCRIPTOR.fields_by_name["sequence_type"].number == 4
    value = _field(1, b"x") + _field(2, within)
    return _field(8, b"\x10\x14") + _field(_GRAPH, _field(_NODE, node) + _field(11, value))


F = np.float32
ONNX_ATTACKS = {
    "graphs within graphs": Attack(
        "ONNX", "CWE-674, CVE-2025-4565 (Protocol Buffers)", lambda: _graphs_within_graphs(10**4), "deep"
    ),
    "groups within groups": Attack(
        "ONNX",
        "CWE-674, CVE-2024-7254 (Protocol Buffers)",
        lambda: b"\x0b" * 10**5,
        "of the kind 3",
    ),
    "types within types": Attack("ONNX", "CWE-674, CVE-2025-4565", _sequences_of_sequences, "deep"),
    "a million empty nodes": Attack(
        "ONNX",
        "CWE-789, CVE-2022-1941 (Protocol Buffers)",
        lambda: _field(_GRAPH, b"\x0a\x00" * 10**6),
        "messages",
    ),
    "numbers that grow eightfold": Attack(
        "ONNX",
        "CWE-789",
        lambda: _field(_GRAPH, _field(5, _field(1, b"\x01" * (9 << 20)))),
        "variable length",
    ),
    "a field longer than the file": Attack("ONNX", "CWE-130", lambda: b"\x3a\xff\xff\xff\xff\x07x", "left"),
    "a number without end": Attack("ONNX", "CWE-835", lambda: b"\x08" + b"\xff" * 10**6, "no whole number"),
    "weights above the folder": Attack(
        "ONNX", "CVE-2022-25882, CVE-2024-27318", _beside("../../../../etc/passwd"), "no place in the model"
    ),
    "weights at an absolute path": Attack("ONNX", "CVE-2024-27318", _beside("/etc/passwd"), "no place"),
    "weights above the folder, of Windows": Attack(
        "ONNX", "CVE-2024-27318", _beside("..\\..\\secret"), "no place in the model"
    ),
    "weights behind a link": Attack("ONNX", "CWE-61", _beside("link.bin"), "is a link"),
    "weights in a folder that is a link": Attack(
        "ONNX", "CWE-61", _beside("outside/etc/passwd"), "is a link"
    ),
    "weights of two names": Attack("ONNX", "CWE-62", _beside("second.bin"), "is a link"),
    "weights in a pipe": Attack("ONNX", "CWE-67", _beside("pipe.bin"), "takes bytes"),
    "weights at a name with a zero byte": Attack("ONNX", "CWE-158", _beside("weights.bin\0.txt"), "no place"),
    "weights beyond their file": Attack(
        "ONNX", "CWE-125", _beside("weights.bin", offset=str(2**40)), "takes bytes"
    ),
    "weights at a negative place": Attack("ONNX", "CWE-125", _beside("weights.bin", offset="-8"), "place"),
    "weights of another length": Attack(
        "ONNX", "CWE-130", _beside("weights.bin", length=str(2**40)), "takes 48 bytes"
    ),
    "a tensor without its numbers": Attack(
        "ONNX", "CWE-789", _weights([HUGE], raw_data=bytes(8)), "no numbers for it"
    ),
    "a tensor whose sizes overflow": Attack(
        "ONNX", "CWE-190", _weights([2**33, 2**31], raw_data=bytes(8)), "no numbers for it"
    ),
    "a tensor of negative sizes": Attack(
        "ONNX", "CWE-1284", _weights([-4, -3], raw_data=bytes(48)), "[-4, -3]"
    ),
    "a tensor of ten thousand axes": Attack(
        "ONNX", "CWE-770", _weights([1] * 10**4, raw_data=bytes(4)), "shape"
    ),
    "a tensor of another length": Attack("ONNX", "CWE-125", _weights([4, 3], raw_data=bytes(47)), "weights"),
    "a function that calls itself": Attack(
        "ONNX",
        "CWE-674",
        _text(
            "attack (float[N] x) => (float[N] y) { y = own.f(x) }\n"
            '<domain: "own", opset_import: ["" : 20, "own" : 1]>\nf (a) => (b) { b = own.f(a) }'
        ),
        "itself",
    ),
    "functions that double": Attack("ONNX", "CWE-776, a billion laughs", _doubling, "nodes"),
    "nodes in a cycle": Attack(
        "ONNX",
        "CWE-835",
        _text("attack (float[N] x) => (float[N] y) { a = Add(x, b) b = Neg(a) y = Neg(b) }"),
        "cycle",
    ),
    "a loop without end": Attack(
        "ONNX",
        "CWE-835",
        _text(
            "attack (float[N] x) => (float[N] y) { n = Constant<value = int64 {9223372036854775807}>()\n"
            "t = Constant<value = bool {1}>() z = Constant<value = float {0.0}>()\n"
            "h = Loop (n, t, z) <body = g (int64 i, bool c, float a) => (bool c, float b)\n"
            "{ b = Add(a, a) }>\n"
            "y = Add(x, h) }"
        ),
        "Loop",
    ),
    "an array of a terabyte": Attack(
        "ONNX", "CWE-789", _constants("ConstantOfShape", [np.array([2**38])]), "ConstantOfShape makes"
    ),
    "a number repeated to a terabyte": Attack(
        "ONNX", "CWE-789", _constants("Expand", [F([1]), np.array([2**38])]), "Expand makes"
    ),
    "tiles of a terabyte": Attack(
        "ONNX", "CWE-789", _constants("Tile", [F([1]), np.array([2**38])]), "Tile makes"
    ),
    "a range of a terabyte": Attack(
        "ONNX", "CWE-789", _constants("Range", [np.array(0), np.array(2**38), np.array(1)]), "Range makes"
    ),
    "a border of a terabyte": Attack(
        "ONNX", "CWE-789", _constants("Pad", [F([1]), np.array([2**37, 2**37])]), "Pad makes"
    ),
    "classes without end": Attack(
        "ONNX",
        "CWE-789",
        _constants("OneHot", [np.array([1]), np.array([2**38]), F([0, 1])]),
        "OneHot makes",
    ),
    "a product of constants": Attack(
        "ONNX", "CWE-400", _constants("MatMul", [np.ones((1, 10**5), F)] * 2), "too large"
    ),
    "sums of products of constants": Attack(
        "ONNX",
        "CWE-400",
        _constants("Einsum", [np.ones(10**4, F)] * 3, equation="a,b,c->abc"),
        "too large",
    ),
    "a pattern that goes back and forth": Attack(
        "ONNX",
        "CWE-1333",
        _constants("RegexFullMatch", [F([1])], pattern="(a*)*b"),
        "RegexFullMatch",
    ),
    "an operator of another domain": Attack(
        "ONNX", "CWE-94", _text("attack (float[N] x) => (float[N] y) { y = own.eval(x) }"), "own.eval"
    ),
    "two tensors of one name": Attack(
        "ONNX",
        "CWE-694",
        _text(
            "attack (float[N] x) => (float[N] y) <float[1] w = {1.0}, float[1] w = {2.0}> { y = Add(x, w) }"
        ),
        "make 'w'",
    ),
    "a version beyond all": Attack("ONNX", "CWE-190", lambda: _with_version(2**63 - 1), "version"),
    "a name of a megabyte": Attack(
        "ONNX",
        "CWE-400",
        lambda: _text(f"attack (float[N] x) => (float[N] y) {{ y = Neg({'z' * 2**20}) }}")(),
        "which nothing before it makes",
    ),
}
