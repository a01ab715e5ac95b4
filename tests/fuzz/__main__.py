"""The fuzzer's command: python -m tests.fuzz SECONDS SEED."""

import traceback

from ..seeds import main
from .cases import CHECKS, Case
from .independent import BACKEND


def failures(seed):
    """What goes wrong in the case of a seed, check by check."""
    for check in CHECKS:
        try:
            check(seed)
        except Exception:
            yield f"{check.__name__}({seed}) fails: {Case(seed)!r}\n{traceback.format_exc(limit=-3)}"


if __name__ == "__main__":
    print(f"against {BACKEND.name}, {len(CHECKS)} checks for each seed")
    main("fuzz", failures)
