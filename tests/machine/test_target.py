"""The instruction set that kernels are made for, as processors and the environment ask for it."""

import platform
import subprocess
import sys

import pytest

from fastmlp.machine import target
from fastmlp.machine.target import LEVELS, best_level, chosen, registers

V3 = "fpu sse2 avx avx2 bmi1 bmi2 f16c fma abm movbe"
V4 = V3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
on_x86 = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="levels of x86")


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Pretend that /proc/cpuinfo has these flags."""

    def pretend(flags):
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
        monkeypatch.setattr(target, "CPUINFO", path)

    return pretend


@on_x86
@pytest.mark.parametrize(
    ("flags", "level"),
    [(V4, "x86-64-v4"), (V3, "x86-64-v3"), (V3.replace("fma", ""), None), (V4.replace("avx512vl", ""), "x86-64-v3")],
)
def test_best_level_of_a_processor(processor, flags, level):
    processor(flags)
    assert best_level() == level
    if level:
        assert chosen({}).name == level
        assert chosen({}).registers == LEVELS[level].registers
    else:
        assert chosen({}).name == "native"


@on_x86
def test_linux_and_llvm_agree_about_this_processor(monkeypatch, tmp_path):
    by_linux = best_level()
    monkeypatch.setattr(target, "CPUINFO", tmp_path / "nothing")
    assert best_level() == by_linux


@on_x86
def test_the_environment_decides(processor):
    processor(V3)
    assert chosen({"FASTMLP_TARGET": "x86-64-v4"}).registers.bits == 512
    assert not chosen({"FASTMLP_TARGET": "x86-64-v4"}).runs_here()
    assert chosen({"FASTMLP_TARGET": "x86-64-v3"}).runs_here()
    assert chosen({"FASTMLP_TARGET": "aarch64"}).triple.startswith("aarch64-")
    native = chosen({"FASTMLP_TARGET": "native"})
    assert native.name == "native"
    assert native.runs_here()
    custom = chosen({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma", "FASTMLP_TARGET": "native"})
    assert (custom.name, custom.cpu, custom.features) == ("custom", "haswell", "+avx2,+fma")
    assert custom.registers == (256, 16)
    assert chosen({"NUMBA_CPU_NAME": "generic"}).registers == (128, 16)
    assert chosen({"NUMBA_CPU_NAME": "haswell"}).features == native.features


def test_a_name_that_there_is_not():
    with pytest.raises(ValueError, match=r"FASTMLP_TARGET must be one of 'native', 'x86-64-v4', .*; got 'i386'"):
        chosen({"FASTMLP_TARGET": "i386"})


@pytest.mark.parametrize(
    ("features", "bits", "count"),
    [
        (["sse2", "avx", "avx2", "fma", "avx512f"], 512, 32),
        (["sse2", "avx", "avx2", "fma"], 256, 16),
        (["sse2", "avx"], 128, 16),
        (["neon", "fp-armv8"], 128, 32),
        ([], 128, 16),
    ],
)
def test_registers(features, bits, count):
    assert registers(features) == (bits, count)
    assert registers(iter(features)) == (bits, count)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") and platform.machine() != "arm64", reason="LLVM is asked there"
)
def test_importing_the_components_needs_neither_numba_nor_the_linker():
    modules = "activations losses optimizers core.network core.session training"
    code = "; ".join(f"import fastmlp.{name}" for name in modules.split())
    code += "; import sys; print([name for name in ('numba', 'llvmlite.binding') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
