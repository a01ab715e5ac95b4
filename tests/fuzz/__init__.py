"""A fuzzer of the whole package: random models against an independent implementation, and what must hold of any model.

    python -m tests.fuzz SECONDS SEED

runs cases from SEED on until the time is over, and names the seed of each that fails.
"""
