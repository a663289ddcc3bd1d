"""ONNX's own test cases, from the installed package; as a script, it renews what is listed and shown of them.

    python -m tests.onnx.official

`passing.txt` names the cases that have to pass. All others have to fail with an error of graphcnn's.
"""

import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from graphcnn.errors import GraphcnnError
from graphcnn.interchange.onnx.backend import GraphcnnBackend

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
LISTED = Path(__file__).parent / "passing.txt"
OF_OTHERS = Path(__file__).parent / "emx_onnx_cgen.txt"
"""Operators without a domain in SUPPORT_OPS.md of emmtrix/emx-onnx-cgen, of 8 July 2026 (0952ecc)."""
PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
BEGIN, END = "<!-- official cases -->\n", "<!-- end -->\n"

OF_NETWORKS = frozenset(
    re.findall(
        r"\w+",
        """
        Conv ConvTranspose MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool Dropout
        BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN LpNormalization
        MeanVarianceNormalization Gemm MatMul Relu LeakyRelu PRelu Elu Selu Celu Gelu Mish Swish Clip Sigmoid
        Tanh Softplus Softsign HardSigmoid HardSwish ThresholdedRelu Softmax LogSoftmax Resize Upsample
        Add Sub Mul Div Neg Abs Exp Log Sqrt Reciprocal Pow Max Min Sum Mean Concat Split Slice Pad Reshape
        Flatten Transpose Squeeze Unsqueeze Expand Tile Gather DepthToSpace SpaceToDepth ReduceMean ReduceSum
        ReduceMax ReduceMin ReduceL2 ArgMax Identity Cast Shape Size Constant Where Equal Greater Less
        """,
    )
)
"""The operators that convolutional networks are made of."""

REASONS = {
    "element types": r"has (no )?tensors of|whole numbers|computes with u?int|of one floating|places of int",
    "volumes": r"on a value of 5 axes",
    "no op": r"has no op for it",
    "empty tensors": r"size of at least 1|has the shape|slices nothing|do not make up",
    "sequences, optionals": r"is no tensor|makes a sequence",
    "other domains": r"of the domain",
    "computed operands": r"has to be known before",
    "version": r"operators are of version",
}


def cases(kinds: tuple[str, ...] = KINDS) -> dict[str, object]:
    """Return the cases by kind and name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are computed, with overflows that are meant
        return {f"{kind}/{case.name}": case for kind in kinds for case in load_model_tests(kind=kind)}


def operators(found: dict[str, object]) -> dict[str, str]:
    """Return the operator that each case is about: of one that is expanded, that which was expanded."""
    plain = {name: _first(case) for name, case in found.items()}
    return {name: plain.get(name.partition("_expanded")[0], first) for name, first in plain.items()}


def _first(case: object) -> str:
    nodes = [node.op_type for node in model_of(case).graph.node if node.op_type != "Constant"]
    return nodes[0] if nodes else "Constant"


def operators_within(case: object) -> set[str]:
    """Return the operators of all nodes of a case, those of its branches and loops among them."""
    nodes, found = list(model_of(case).graph.node), set()
    while nodes:
        node = nodes.pop()
        nodes += [inner for attribute in node.attribute for inner in attribute.g.node]
        found |= {node.op_type} if node.domain in ("", "ai.onnx") else set()
    return found


def comparison(found: dict[str, object], passing: set[str]) -> str:
    """Return what the page says of the operators that emx-onnx-cgen lists, counted as it counts."""
    others = set(OF_OTHERS.read_text().split())
    within = {name: operators_within(case) & others for name, case in found.items()}
    has_file = set().union(*within.values())
    supported = set().union(*(within[name] for name in passing))
    of_networks, named = OF_NETWORKS & others, operators(found)
    counted = [name for name in found if named[name] in of_networks]
    wins = len(passing & set(counted))
    own, every = len(of_networks & supported), len(found)
    lines = [
        f"emx-onnx-cgen lists {len(others)} operators of the standard's domain, and calls one supported",
        "that is in a file which passes: all are, and all 1914 official files of onnx 1.22 pass there.",
        f"Counted alike, of the {len(has_file)} that are in a case of onnx {onnx.__version__},",
        f"{len(supported)} are supported here, {len(supported) / len(has_file):.1%};",
        f"of the {len(of_networks)} of convolutional networks in it {own}, {own / len(of_networks):.1%}.",
        f"Counted by cases, {len(passing)} of {every} pass, {len(passing) / every:.1%}, and of those about",
        f"operators of convolutional networks {wins} of {len(counted)}, {wins / len(counted):.1%}.",
    ]
    return "\n".join(lines)


def model_of(case: object) -> onnx.ModelProto:
    return case.model or onnx.load(Path(case.model_dir) / "model.onnx")


def data_of(case: object) -> Iterator[tuple[list, list]]:
    """Yield inputs and outputs."""
    if case.data_sets:
        for inputs, outputs in case.data_sets:
            yield [_array(each) for each in inputs], [_array(each) for each in outputs]
        return
    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        yield tuple(_stored(folder, name) for name in ("input", "output"))


def _array(given: object) -> object:
    return numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else given


def _stored(folder: Path, name: str) -> list:
    count = len(list(folder.glob(f"{name}_*.pb")))
    return [_array(onnx.load_tensor(folder / f"{name}_{number}.pb")) for number in range(count)]


def failure(case: object, backend: str) -> str:
    """Return why a case is refused, "" if it passes. Raises AssertionError for numbers that are wrong."""

    class Chosen(GraphcnnBackend):
        pass

    Chosen.backend = backend
    try:
        prepared = Chosen.prepare(model_of(case))
        for inputs, outputs in data_of(case):
            for found, expected in zip(prepared.run(inputs), outputs, strict=True):
                assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
                np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=case.atol)
    except GraphcnnError as error:
        return str(error)
    return ""


def listed() -> set[str]:
    return set(LISTED.read_text().split())


def reason(said: str) -> str:
    found = [name for name, pattern in REASONS.items() if re.search(pattern, said)]
    return found[0] if found else "other"


def table(results: dict[str, tuple[str, str]]) -> str:
    """Return what the page shows. results: of each case, its operator and why it does not pass."""
    total, passed = Counter(), Counter()
    why: dict[str, Counter] = {}
    for name, said in results.values():
        total[name] += 1
        passed[name] += not said
        if said:
            why.setdefault(name, Counter())[reason(said)] += 1
    of_networks = [each for each in total if each in OF_NETWORKS]
    whole = sorted(name for name in total if passed[name] == total[name])
    none = sorted(name for name in total if not passed[name])
    partly = sorted(set(total) - set(whole) - set(none))
    types, volumes, empty = (
        sum(counts[each] for name, counts in why.items() if name in OF_NETWORKS)
        for each in ("element types", "volumes", "empty tensors")
    )
    wins, all_of_networks = (sum(counter[name] for name in of_networks) for counter in (passed, total))
    rest = all_of_networks - types - volumes - empty
    lines = [
        f"Of {sum(total.values())} cases of onnx {onnx.__version__}, {sum(passed.values())} pass, on both",
        f"backends. Of the {len(of_networks)} operators of convolutional networks they are {wins}",
        f"of {all_of_networks}; without those of tensors that graphcnn does not have, of other element types",
        f"({types}), of volumes ({volumes}) and of no elements ({empty}), {wins} of {rest},",
        f"{wins / rest:.1%}.",
        "",
        f"**All cases pass** of {len(whole)} operators: "
        + ", ".join(f"{name} {total[name]}" for name in whole)
        + ".",
        "",
        "| operator | pass | of | the others |",
        "|---|--:|--:|---|",
        *(
            f"| {name} | {passed[name]} | {total[name]} | "
            f"{', '.join(f'{each} {count}' for each, count in why[name].most_common())} |"
            for name in partly
        ),
        "",
        f"**None** of {len(none)}: " + ", ".join(f"{name} {total[name]}" for name in none) + ".",
        "",
    ]
    return "\n".join(lines)


def renew() -> None:
    found = cases()
    results: dict[str, tuple[str, str]] = {}
    passing = []
    named = operators(found)
    for name, case in found.items():
        said = failure(case, "numpy")
        results[name] = named[name], said
        if not said:
            passing.append(name)
    LISTED.write_text("\n".join(sorted(passing)) + "\n")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    shown = f"{table(results)}\n{comparison(found, set(passing))}\n"
    PAGE.write_text(before + BEGIN + "\n" + shown + "\n" + END + rest.split(END)[1])
    others = {name: said for name, (_, said) in results.items() if said and reason(said) == "other"}
    for name, said in others.items():
        print(name, said.splitlines()[0], file=sys.stderr)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        renew()
