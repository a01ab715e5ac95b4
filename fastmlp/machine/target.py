"""The processor that kernels are compiled for: an instruction-set level, the same on all machines that have it.

So the same seed gives the same bits on every machine of a level, from kernels that came compiled or were compiled here.
`FASTMLP_TARGET` names another level, or "native" for this very processor; `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES`
decide before it, as in Numba itself. Neither Numba nor LLVM is imported for a level of Linux, nor for AArch64.
"""

import os
import pathlib
import platform
import sys
from typing import NamedTuple


class Registers(NamedTuple):
    """The vector registers of a processor: their width in bits and their number."""

    bits: int
    count: int


class Level(NamedTuple):
    """An instruction-set level.

    architecture : as LLVM's triples begin; cpu, features : LLVM's, "" for what the name implies
    flags : what /proc/cpuinfo calls what the level asks for; needs : the same in LLVM's terms
    """

    architecture: str
    cpu: str
    registers: Registers
    flags: frozenset
    needs: frozenset


_V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V3_NEEDS = (_V3 - {"bmi1"}) | {"bmi", "lzcnt"}
# The best first. Source: System V Application Binary Interface, AMD64 supplement, table 3.1.
LEVELS = {
    "x86-64-v4": Level(
        "x86_64",
        "x86-64-v4",
        Registers(512, 32),
        frozenset(_V3 | {"abm"} | _AVX512),
        frozenset(_V3_NEEDS | _AVX512),
    ),
    "x86-64-v3": Level("x86_64", "x86-64-v3", Registers(256, 16), frozenset(_V3 | {"abm"}), frozenset(_V3_NEEDS)),
    "aarch64": Level("aarch64", "generic", Registers(128, 32), frozenset(), frozenset()),
}
ARCHITECTURES = {"AMD64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64", "ARM64": "aarch64"}
NATIVE = "native"
CPUINFO = pathlib.Path("/proc/cpuinfo")


class Target(NamedTuple):
    """What code is made for.

    name : of a level, "native" or "custom"; architecture : as LLVM's triples begin, "" for that of this process
    cpu, features : LLVM's; system : whose C library it calls, as in `sys.platform`
    """

    name: str
    architecture: str
    cpu: str
    features: str
    registers: Registers
    system: str

    @property
    def triple(self):
        """LLVM's triple."""
        from llvmlite.binding import get_process_triple

        own = get_process_triple()
        return own if self.is_own_architecture() else "-".join((self.architecture, *own.split("-")[1:]))

    def is_own_architecture(self):
        """Whether this process could run it, as far as the architecture goes."""
        return self.architecture in ("", own_architecture())

    def runs_here(self):
        """Whether this processor has all that the code may use."""
        return self.name not in LEVELS or has_level(LEVELS[self.name])


def registers(features):
    """Vector registers, by the LLVM features in use (an iterable of names such as "avx2")."""
    features = set(features)
    if "avx512f" in features:
        return Registers(512, 32)
    if "avx2" in features:
        return Registers(256, 16)
    return Registers(128, 32 if "neon" in features else 16)


def own_architecture():
    """The architecture of this process as LLVM's triples name it; "" where it has no levels."""
    return ARCHITECTURES.get(platform.machine(), "") if sys.maxsize > 2**32 else ""


def linux_flags():
    """The flags of the first processor in /proc/cpuinfo; empty where it cannot be read."""
    try:
        with CPUINFO.open("rb") as file:  # the file of a large machine takes some time, its first lines none
            text = file.read(1 << 14).decode("ascii", "replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def host_features():
    """LLVM's features of this processor, as a string "+avx2,-avx512f,..."."""
    import llvmlite.binding

    try:
        return llvmlite.binding.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell
        return ""


def enabled(features):
    """Names of the features that a string of LLVM's turns on."""
    return {feature[1:] for feature in features.split(",") if feature.startswith("+")}


def has_level(level):
    """Whether this processor has all instructions of a level."""
    if level.architecture != own_architecture():
        return False
    flags = linux_flags()
    return level.flags <= flags if flags else level.needs <= enabled(host_features())


def best_level():
    """Name of the best level of this processor; None where it has none."""
    return next((name for name, level in LEVELS.items() if has_level(level)), None)


def _native(name, cpu, features):
    from llvmlite.binding import get_host_cpu_name

    if features is None:  # as in Numba: the name alone keeps the host's features
        features = "" if cpu == "generic" else host_features()
    return Target(name, "", cpu or get_host_cpu_name(), features, registers(enabled(features)), sys.platform)


def chosen(environment):
    """The target that the environment asks for, by default the best level of this processor.

    Raises
    ------
    ValueError
        If FASTMLP_TARGET names nothing that there is.
    """
    cpu, features = environment.get("NUMBA_CPU_NAME"), environment.get("NUMBA_CPU_FEATURES")
    if cpu is not None or features is not None:
        return _native("custom", cpu, features)
    name = environment.get("FASTMLP_TARGET") or best_level() or NATIVE
    if name == NATIVE:
        return _native(NATIVE, None, None)
    if name not in LEVELS:
        names = ", ".join(map(repr, (NATIVE, *LEVELS)))
        raise ValueError(f"FASTMLP_TARGET must be one of {names}, or not set; got {name!r}.")
    level = LEVELS[name]
    return Target(name, level.architecture, level.cpu, "", level.registers, sys.platform)


TARGET = chosen(os.environ)
REGISTERS = TARGET.registers


def lanes_of_dtype(dtype):
    """Lanes of a vector of `dtype` (a NumPy dtype)."""
    return REGISTERS.bits // (8 * dtype.itemsize)
