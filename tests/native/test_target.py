"""What the generator is told about processors agrees with what the machine and LLVM say."""

import platform
import re
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from graphcnn.errors import OptionError
from graphcnn_native import target as targets
from graphcnn_native.runtime.engine import assembly
from graphcnn_native.target import Target, host_target, named_target, runs_here

ADD = """
define void @add(ptr %to, ptr %from) {
  %x = load <16 x float>, ptr %to, align 64
  %y = load <16 x float>, ptr %from, align 64
  %sum = fadd <16 x float> %x, %y
  store <16 x float> %sum, ptr %to, align 64
  ret void
}
"""
SCALE = """
define void @scale(ptr %to, ptr %factor) {
  %scalar = load float, ptr %factor
  %one = insertelement <# x float> poison, float %scalar, i32 0
  %factors = shufflevector <# x float> %one, <# x float> poison, <# x i32> zeroinitializer
  %x = load <# x float>, ptr %to, align 64
  %y = call <# x float> @llvm.fma.v#f32(<# x float> %factors, <# x float> %x, <# x float> %x)
  store <# x float> %y, ptr %to, align 64
  ret void
}
declare <# x float> @llvm.fma.v#f32(<# x float>, <# x float>, <# x float>)
"""
FUSED = {"avx512": "vfmadd", "avx2": "vfmadd", "neon": "fmla"}
X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.parametrize(
    ("name", "register"),
    [("amx", "%zmm0"), ("avx512", "%zmm0"), ("avx2", "%ymm0"), ("baseline", "%xmm0"), ("neon", "v0.4s")],
)
def test_code_for_a_named_target_uses_its_whole_registers(name, register):
    target = named_target(name)
    assert target.name == name
    assert register in assembly(ADD, target)
    assert target.vector_bytes == {"%z": 64, "%y": 32}.get(register[:2], 16)


@pytest.mark.parametrize("name", ["avx512", "avx2", "baseline", "neon"])
def test_fused_multiply_add_and_broadcasts_are_what_llvm_makes_of_them(name):
    target = named_target(name)
    code = assembly(SCALE.replace("#", str(target.lanes(4))), target)
    assert target.fused == (FUSED.get(name, "no such instruction") in code)
    assert target.broadcasts == bool(re.search(r"\{1to16\}|v\d+\.s\[0\]", code))


def test_lanes_are_elements_per_register():
    assert [named_target("avx2").lanes(size) for size in (1, 2, 4, 8)] == [32, 16, 8, 4]


def test_an_unknown_name_is_an_error_that_tells_the_known_ones():
    with pytest.raises(OptionError) as caught:
        named_target("avx3")
    for name in ("avx3", "host", "amx", "avx512", "avx2", "baseline", "neon"):
        assert name in str(caught.value)


def test_the_host_runs_its_own_code():
    host = named_target("host")
    assert host is host_target()
    assert runs_here(host)
    assert host.triple == llvm.get_process_triple()
    assert host.lanes(4) >= 4


@pytest.mark.skipif(not X86 or not Path("/proc/cpuinfo").exists(), reason="needs Linux on x86-64")
def test_what_runs_here_is_what_the_system_says_the_processor_can():
    flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split())
    assert runs_here(named_target("baseline"))
    assert runs_here(named_target("avx2")) == (
        flags >= {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "abm", "xsave"}
    )
    assert runs_here(named_target("avx512")) == (
        flags >= {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    )
    assert host_target().fused == ("fma" in flags)
    assert not runs_here(named_target("neon"))


def test_code_with_a_feature_or_for_a_processor_that_is_not_here_does_not_run_here():
    host = host_target()
    unknown = Target("other", host.triple, "no-such-cpu", "", 16, 16, False, False, False)
    featured = Target("other", host.triple, host.cpu, "+no-such-feature", 16, 16, False, False, False)
    assert not runs_here(unknown)
    assert not runs_here(featured)


@pytest.mark.parametrize(
    ("features", "vector_bytes", "registers", "fused", "masks"),
    [
        ("sse2", 16, 16, False, False),
        ("sse2 avx fma", 16, 16, True, False),
        ("sse2 avx avx2 fma", 32, 16, True, False),
        ("sse2 avx avx2 fma avx512f avx512cd", 32, 16, True, False),  # Knights Landing
        ("sse2 avx avx2 fma avx512f avx512cd avx512vl avx512dq avx512bw", 64, 32, True, True),
    ],
)
def test_the_host_is_recognised_by_its_features(monkeypatch, features, vector_bytes, registers, fused, masks):
    monkeypatch.setattr(targets, "_machine", lambda: "x86_64")
    known = {"tbm": False} | dict.fromkeys(features.split(), True)
    monkeypatch.setattr(targets, "_host_features", lambda: known)
    host = host_target.__wrapped__()
    assert (host.vector_bytes, host.registers) == (vector_bytes, registers)
    assert (host.fused, host.masks) == (fused, masks)
    flags = host.features.split(",")
    assert {"-tbm", "+sse2"} <= set(flags)
    assert ("-prefer-256-bit" in flags) == (vector_bytes == 64)


def test_an_aarch64_host_is_recognised(monkeypatch):
    monkeypatch.setattr(targets, "_machine", lambda: "aarch64")
    monkeypatch.setattr(targets, "_host_features", lambda: {"neon": True})
    host = host_target.__wrapped__()
    assert (host.vector_bytes, host.registers, host.fused, host.broadcasts) == (16, 32, True, True)


@pytest.mark.parametrize(("triple", "machine"), [("arm64-apple", "aarch64"), ("x86_64-linux", "x86_64")])
def test_architectures_have_one_name(triple, machine):
    assert targets._architecture(triple) == machine
