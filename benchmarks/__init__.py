"""Benchmarks: `pytest -n 0 benchmarks`, then `python benchmarks/report.py`.

Each makes its data, asserts that all sides give the same answer, warms up, times, and leaves in `benchmark.extra_info`

`table`, `row`
    a row (column -> number or text) of the table of that name; `report.py` draws the tables.
`bars`
    what is promised: a list of `bar(...)`, which `python benchmarks/report.py --check` compares with what was measured.
`seconds`
    side -> the seconds of each round, so that every printed number can be worked out again; in a contest two lists, of
    the fits of `epochs` = [e, 3e], and `seconds_per_epoch` is what follows from them.

A run of this whole folder is stored as `bench_results/<machine>/NNNN_all.json`, a run of a part of it with
`--benchmark-save=NAME` as `NNNN_NAME.json`; the newest result of each benchmark counts. `<machine>` is
pytest-benchmark's own name for system, Python and component size; the host's name is left out. Where two
processors share that name, the vector instructions of the lesser one are added by hand.

How sides are compared (`contest.py`)
-------------------------------------
* In one process, alternating: each round lets every side run once, after a short rest.
* An epoch's time is (fit of 3e epochs - fit of e epochs) / 2e, each the best of five: what happens once a fit cancels.
* Same rows, same sizes of batches (the last, smaller one included), same dtype, the same two physical cores. Before the
  race each side trains from the same weights through the same batches, and the losses of the networks that come out
  must agree; in the race each draws its own order of rows, as programs do.
* Peers in their fastest ordinary form: PyTorch with fused Adam and `zero_grad(set_to_none=True)`, JAX with the whole
  epoch (the permutation, a `lax.scan` over the batches, the last batch) as one jitted function, compiled beforehand.
* The times that pytest-benchmark itself prints for a contest are those of fastmlp's two fits, 4e epochs.
"""
