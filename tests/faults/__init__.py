"""A harness of faults: python -m tests.faults SECONDS SEED."""
