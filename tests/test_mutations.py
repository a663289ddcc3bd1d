"""Wrong gradient rules, made of right ones by one slip each, are caught by the checks of gradients."""

import re
from collections import Counter
from pathlib import Path

import pytest

from graphcnn import ops
from graphcnn.testing.gradient_page import with_table
from graphcnn.testing.kinks import KINKS
from graphcnn.testing.mutations import Verdict, mutants_of, mutation_score

PAGE = Path(__file__).parents[1] / "docs" / "gradients.md"
WITH_SLIPS = [
    op for op in ops.OPS.values() if op.__module__.startswith("graphcnn.") and op is not ops.UserFunction
]


def test_the_score_of_a_sample():
    score = mutation_score(WITH_SLIPS, cases=4, most=2)
    print(score)
    assert not score.of(Verdict.SURVIVED), str(score)
    assert len({mutant.op for mutant in score.of(Verdict.CAUGHT)}) >= 55


def test_the_page_has_the_rules_of_today():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "python -m graphcnn.testing.gradient_page docs/gradients.md"


@pytest.mark.parametrize("kink", KINKS, ids=str)
def test_slopes_at_kinks(kink):
    kink.check()


def test_a_slip_is_told_by_its_place_in_the_rule():
    found = [str(mutant) for mutant in mutants_of(ops.Tanh, cases=1)]
    assert any(re.fullmatch(r"tanh: subtract #0 in gradient:\d+: sign", text) for text in found), found
    assert "tanh: what it returns #0: no gradient of operand 0" in found


def test_rules_are_as_they_were_afterwards():
    before = {op: op.gradient for op in WITH_SLIPS}
    mutation_score([ops.Tanh, ops.Relu, ops.Correlate2d], cases=1, most=3)
    assert {op: op.gradient for op in WITH_SLIPS} == before
    assert "gradient" not in vars(ops.Greater), "it is its base's still"


def test_a_check_that_misses_a_slip_is_told(monkeypatch):
    monkeypatch.setattr("graphcnn.testing.mutations.check_gradients", lambda *arguments, **options: None)
    score = mutation_score([ops.Tanh], cases=1)
    assert score.of(Verdict.SURVIVED)
    assert "survived: tanh: " in str(score)


OF_ONE_PLACE = (
    r"(transpose|reshape|broadcast|sum|cast|crop|pad|subsample|zero_insert|interpolate\w*) #0 in .*: "
    r"(operand 0|reshape|broadcast|subsample|zero_insert) in its place"
)
WITHOUT_EFFECT = {
    "where types fit, sizes are such that the op neither moves nor adds up elements": OF_ONE_PLACE,
    "what is summed up along axes of one place is as it was": (
        r"(broadcast|max): sum #0 in .*: keep turned round"
    ),
    "a stride, factor or dilation steps nowhere along an axis of one place": (
        r"(\w+2d #0 in .*: (stride|dilation) \[\d\] one (more|less))|(zero_insert #0 in .*: factors .*)"
    ),
    "no size changes, and both numbers are the same": r"interpolate\w* #0 in .*: axis and size exchanged",
    "behind the last window": r"\w+2d #0 in .*: padding \[\d\] \[1\] one (more|less)",
    "the index of the winner says its row without the window's height": (
        r"(route_to|gather)_winner2d #0 in .*: size \[0\] one more"
    ),
    "a product of single numbers may be turned round": r"(matmul|\w+2d) #0 in .*: operands 0 and 1 exchanged",
    "the sign of a zero": r"constant #0 in .*: sign",
    "a norm of 0 divides 0, by whatever is put in its place": r"l2_pool2d: constant #0 in .*: value doubled",
    "both signs of a quotient": r"max: cast #0 in .*: sign",
    "nothing is inserted by factors of 1": r"subsample: pad #0 in .*: value 2 of the rule as operand 0",
    "max(x, y) > y where x > y, and min(x, y) < y where x < y": (
        r"(maximum|minimum): greater #0 in .*: value 2 of the rule as operand [01]"
    ),
    "the result is above 0 where x is": (
        r"(relu: relu_mask|elu: greater) #0 in .*: value 1 of the rule as operand 0"
    ),
    "only the sizes of what is counted matter": r"count #0 in .*: value \d of the rule as operand 0",
    "x is the greatest, or the norm, of itself alone": (
        r"max: (broadcast|equal) #0 in .*: value [01] of the rule as operand [01]"
        r"|max: (multiply|broadcast) #0 in .*: value 2 of the rule as operand [01]"
        r"|inverse_deviation: multiply #0 in .*: value 1 of the rule as operand 1"
    ),
    "of a single class, the gradient is 0": (
        r"softmax_cross_entropy: broadcast #0 in .*: value 0 of the rule .*"
    ),
    "the slope of a function that is linear in an argument does not read that": (
        r"user_function: user_function #1 in .*: value \d of the rule as operand 1"
    ),
}
"""Why a slip changes nothing, and which slips those are."""


@pytest.mark.slow
def test_every_wrong_rule_is_caught(capsys):
    score = mutation_score()
    with capsys.disabled():
        print("\n" + str(score))
    assert not score.of(Verdict.SURVIVED), str(score)
    reasons = Counter()
    unexplained = []
    for mutant in score.of(Verdict.WITHOUT_EFFECT):
        text = str(mutant)
        why = [
            reason for reason, slips in WITHOUT_EFFECT.items() if re.fullmatch(rf"(\w+: )?({slips})", text)
        ]
        reasons.update(why[:1])
        if not why:
            unexplained.append(text)
    assert not unexplained, "\n".join(unexplained)
    assert reasons.keys() == WITHOUT_EFFECT.keys(), "a reason that no slip has any more"
    assert str(score).splitlines()[0] in " ".join(PAGE.read_text(encoding="utf-8").split())
