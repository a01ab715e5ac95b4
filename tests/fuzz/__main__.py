"""The fuzzer's command: python -m tests.fuzz SECONDS SEED."""

import sys
import time
import traceback

from .cases import CHECKS, Case
from .independent import BACKEND


def main(seconds, seed):
    """Run every check on case after case until the time is over; the number of failures."""
    print(f"against {BACKEND.name}, {seconds:g} s from seed {seed}")
    end, first, failures = time.monotonic() + seconds, seed, 0
    while time.monotonic() < end:
        for check in CHECKS:
            try:
                check(seed)
            except Exception:
                failures += 1
                print(f"--- {check.__name__}({seed}) fails: {Case(seed)!r}")
                traceback.print_exc(file=sys.stdout, limit=-3)
        seed += 1
    print(f"{(seed - first) * len(CHECKS)} checks of {seed - first} cases, {failures} failed")
    return failures


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.fuzz SECONDS SEED")
    sys.exit(1 if main(float(sys.argv[1]), int(sys.argv[2])) else 0)
