"""The harness's command: python -m tests.faults SECONDS SEED."""

from ..seeds import main
from .cases import FAULTS, run


def failures(seed):
    """What goes wrong after the fault whose turn it is, in a process of its own."""
    name = list(FAULTS)[seed % len(FAULTS)]
    message = run(name, seed)
    if message:
        yield f"{name}({seed}) fails:\n{message}"


if __name__ == "__main__":
    main("faults", failures)
