"""PyTorch's own samples of the ops of convolutional networks: results and all gradients, on both backends."""

import warnings
from collections import Counter
from pathlib import Path

import pytest

from tests.op_db import losses, networks  # noqa: F401 - they enter their expressions
from tests.op_db.expressions import EXPRESSIONS
from tests.op_db.written import REFUSED, checked, refusal

pytestmark = pytest.mark.torch

DTYPES = ("float64", "float32")
PAGE = Path(__file__).parents[2] / "docs" / "gradients.md"
OF_PYTORCH = {"nn.functional.hardsigmoid": 1e-8}
"""Where PyTorch is less accurate: it multiplies the gradient by 1/6 in float32, whatever the precision."""
COUNTED: dict[str, Counter[str]] = {}
"""Of each op: how many samples, and how many of them passed; and why others cannot be written."""


@pytest.fixture(scope="module")
def infos():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of its import
        from torch.testing._internal.common_methods_invocations import op_db
    found: dict[str, list] = {}
    for info in op_db:
        found.setdefault(info.name, []).append(info)
    return torch, found


@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
@pytest.mark.filterwarnings("ignore")
def test_samples(infos, name):
    torch, known = infos
    write = EXPRESSIONS[name]
    counts, wrong = COUNTED.setdefault(name, Counter()), []
    for info in known[name]:
        for sample in info.sample_inputs("cpu", torch.float64, requires_grad=info.supports_autograd):
            counts["samples"] += 1
            try:
                found = [
                    f"{dtype}, {problem}"
                    for dtype in DTYPES
                    for problem in checked(torch, info.op, sample, write, dtype, OF_PYTORCH.get(name, 0.0))
                ]
            except REFUSED as error:
                counts[refusal(error)] += 1
                continue
            wrong += [f"{sample.args} {sample.kwargs}: {problem}" for problem in found]
            counts["passed"] += not found
    assert not wrong, "\n".join(wrong)


def table():
    """Return the counts of this run as the page has them."""
    rows = ["| op of PyTorch | samples | pass | outside |", "|---|---|---|---|"]
    for name, counts in sorted(COUNTED.items()):
        reasons = {reason: count for reason, count in counts.items() if reason not in ("samples", "passed")}
        outside = "; ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
        rows.append(f"| {name} | {counts['samples']} | {counts['passed']} | {outside} |")
    total, passed = (sum(counts[key] for counts in COUNTED.values()) for key in ("samples", "passed"))
    return "\n".join([*rows, f"| all {len(COUNTED)} | {total} | {passed} | |"])


def test_the_page_shows_this_table():
    if len(COUNTED) < len(EXPRESSIONS):
        pytest.skip("the table is that of all ops, and not all were run")
    print(table())
    assert table() in PAGE.read_text(encoding="utf-8")
