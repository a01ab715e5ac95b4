"""The command that the fuzzer and the harness of faults share: a check of seed after seed until the time is over."""

import sys
import time


def failures_of(check, seconds, seed):
    """Check seed after seed for some seconds and print what fails; the number of failures.

    Parameters
    ----------
    check : callable (seed) -> iterable of messages, one for each failure
    """
    end, first, failures = time.monotonic() + seconds, seed, 0
    while time.monotonic() < end:
        for message in check(seed):
            failures += 1
            print(f"--- {message}", flush=True)
        seed += 1
    print(f"{seed - first} seeds from {first}, {failures} failures")
    return failures


def main(name, check):
    """What ``python -m tests.NAME SECONDS SEED`` does."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: python -m tests.{name} SECONDS SEED")
    sys.exit(1 if failures_of(check, float(sys.argv[1]), int(sys.argv[2])) else 0)
