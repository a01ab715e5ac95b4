"""The harness's command: python -m tests.faults SECONDS SEED."""

import sys
import time

from .cases import FAULTS, run


def main(seconds, seed):
    """Provoke fault after fault until the time is over, each in a process of its own; the number of failures."""
    end, first, failures = time.monotonic() + seconds, seed, 0
    while time.monotonic() < end:
        name = list(FAULTS)[seed % len(FAULTS)]
        message = run(name, seed)
        if message:
            failures += 1
            print(f"--- {name}({seed}) fails:\n{message}")
        seed += 1
    print(f"{seed - first} faults from seed {first}, {failures} failed")
    return failures


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.faults SECONDS SEED")
    sys.exit(1 if main(float(sys.argv[1]), int(sys.argv[2])) else 0)
