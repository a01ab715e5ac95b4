"""The passes of the engine one by one, on a network's real buffers, beside the same passes of the reference."""

import itertools
import time
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from fastmlp import reference
from fastmlp.activations import ReLU
from fastmlp.core import affine, update
from fastmlp.core.layout import aligned
from fastmlp.core.network import Network
from fastmlp.core.outputs import output_delta
from fastmlp.core.records import ALL, Blocks, Buffers, Data, Layout, Settings, Span, StepScalars
from fastmlp.losses import LogLoss, codes_of
from fastmlp.machine.kernels import entry
from fastmlp.machine.record import read, table_of
from fastmlp.optimizers import GROUPS, Adam

GATHER, FORWARD, DELTA, BACKWARD, UPDATE = range(5)
PASSES = {
    "gather": GATHER,
    "affine_forward": FORWARD,
    "output_delta": DELTA,
    "affine_backward": BACKWARD,
    "affine_update": UPDATE,
}
LAYER = 1  # the layer that is measured has one below it, so that there is something to go back to
ACTIVATION, OPTIMIZER, LOSS, OUTPUT = ReLU(), Adam(), LogLoss(), "softmax"
RELU, ADAM, SOFTMAX = ACTIVATION.code, OPTIMIZER.code, codes_of(LOSS, OUTPUT)
RATE, ALPHA = 1e-3, 1e-4
STEP_SCALARS = OPTIMIZER.scalars(np.array([1e9]), np.array([RATE]))[0]  # so late that Adam's correction is 1


class Size(NamedTuple):
    """Rows of a batch, units below and above."""

    rows: int
    below: int
    above: int

    @property
    def operations(self):
        """Multiplications and additions of one product."""
        return 2 * self.rows * self.below * self.above

    def __str__(self):
        return f"{self.rows:,} × {self.below:,} → {self.above:,}"


@entry
def repeat(which, times, zero, layout, buffers, data, span, blocks, scalars):
    """One pass, again and again, alone in its team."""
    layout, buffers, data = read(Layout, layout, zero), read(Buffers, buffers, zero), read(Data, data, zero)
    span, blocks, scalars = read(Span, span, zero), read(Blocks, blocks, zero), read(StepScalars, scalars, zero)
    for _ in range(times):
        if which == GATHER:
            affine.gather(layout, data, span, buffers)
        elif which == FORWARD:
            affine.affine_forward(layout, LAYER, RELU, span, buffers)
        elif which == DELTA:
            output_delta(layout, data, SOFTMAX, span, buffers)
        elif which == BACKWARD:
            affine.affine_backward(layout, LAYER, False, span, buffers)
        else:
            update.affine_update(layout, LAYER, ADAM, scalars, blocks, buffers)


class Bench:
    """A network whose second layer has the given size, ours and the reference's, on the same numbers."""

    def __init__(self, size, dtype):
        random = np.random.default_rng(0)
        self.size, self.dtype = size, np.dtype(dtype)
        number = self.dtype.type
        self.rows = min(size.rows, 512)  # of a chunk
        units = (4, size.below, size.above)
        components = {"activation": ACTIVATION, "loss": LOSS, "output": OUTPUT, "optimizer": OPTIMIZER}
        coefs = [random.normal(size=n).astype(dtype) / n[0] ** 0.5 for n in itertools.pairwise(units)]
        intercepts = [random.normal(size=n).astype(dtype) for n in units[1:]]
        X = random.normal(size=(self.rows, units[0])).astype(dtype)
        y = random.integers(0, units[-1], self.rows)
        self.network = Network(units, dtype=dtype, **components)
        self.network.set_weights(coefs, intercepts)
        self.session = self.network.session(X, y, batch_size=self.rows, n_threads=1).__enter__()
        layout, buffers, _ = self.session._keepalive
        buffers.optimizer_scalars[: len(STEP_SCALARS)] = STEP_SCALARS
        self.session._data.order[:] = np.arange(self.rows)
        self.buffers = buffers._replace(gradient=aligned(self.network._weights.size, dtype))
        span = Span(0, 0, self.rows, self.rows, self.rows, 0, self.rows)
        blocks = Blocks(0, int(layout.blocks_at[LAYER + 1] - layout.blocks_at[LAYER]), self.rows, False, 0, ALL)
        scalars = StepScalars(Settings(alpha=ALPHA), 1 / self.rows, 1.0, 1, 0)
        records = (layout, self.buffers, self.session._data, span, blocks, scalars)
        self.tables = [table_of(record) for record in records]
        self.reference = reference.Reference(coefs, intercepts, **components)
        self.arrays = SimpleNamespace(inputs=X, targets=y, order=np.arange(self.rows), sample_weight=None)
        self.scalars = SimpleNamespace(
            settings=SimpleNamespace(alpha=number(ALPHA), l1=number(0), clip_value=number(np.inf)),
            share=number(1 / self.rows),
            scale=number(1),
            optimizer_scalars=[STEP_SCALARS.astype(dtype)] * len(GROUPS),
        )
        self.reference.forward(self.arrays, slice(0, self.rows))
        for which in (GATHER, FORWARD):
            self.ours(which)
        self.reference.buffers.deltas[2] = random.normal(size=(self.rows, units[2])).astype(dtype)
        self.write(self.reference.buffers.outputs[1][:, :-1], buffers.outputs, layout, 1)
        self.write(self.reference.buffers.outputs[2][:, :-1], buffers.outputs, layout, 2)
        self.write(self.reference.buffers.deltas[2], buffers.deltas, layout, 2)
        self.write(self.reference.buffers.deltas[1], buffers.deltas, layout, 1)
        self.layout = layout

    def write(self, matrix, buffer, layout, level):
        """Put the rows of a level into our buffer, a one after the outputs."""
        rows, columns = matrix.shape
        view = self.level(buffer, layout, level)
        view[:rows, :columns] = matrix
        view[:rows, columns:] = 0
        if buffer is self.buffers.outputs:
            view[:rows, columns] = 1

    def level(self, buffer, layout, level):
        """View of the rows of a level."""
        at, stride = layout.rows_at[level], layout.stride[level]
        return buffer[at : at + self.rows * stride].reshape(self.rows, stride)

    def ours(self, which, times=1):
        """Our pass, `times` times."""
        repeat.load(self.dtype)(which, times, *(table.ctypes.data for table in self.tables))

    def theirs(self, which):
        """The reference's pass."""
        layout, data, buffers = self.reference.layout, self.arrays, self.reference.buffers
        span = slice(0, self.rows)
        if which == GATHER:
            reference.gather(layout, data, span, buffers)
        elif which == FORWARD:
            reference.affine_forward(layout, LAYER, ACTIVATION, span, buffers)
        elif which == DELTA:
            reference.output_delta(layout, data, (LOSS, OUTPUT), span, buffers)
        elif which == BACKWARD:
            reference.affine_backward(layout, LAYER, False, span, buffers)
        else:
            reference.affine_gradient(layout, LAYER, None, buffers)
            blocks = SimpleNamespace(phase=ALL)
            reference.affine_update(layout, LAYER, OPTIMIZER, self.scalars, blocks, buffers)

    def assert_equal(self, which):
        """One pass of both from the same numbers gives the same."""
        self.ours(which)
        self.theirs(which)
        buffers = self.reference.buffers
        if which == GATHER:
            pairs = [(self.level(self.buffers.outputs, self.layout, 0), buffers.outputs[0])]
        elif which == FORWARD:
            pairs = [(self.level(self.buffers.outputs, self.layout, 2), buffers.outputs[2])]
        elif which in (DELTA, BACKWARD):
            level = 2 if which == DELTA else 1
            pairs = [(self.level(self.buffers.deltas, self.layout, level), buffers.deltas[level])]
        else:
            coefs, intercepts = self.network.weights()
            pairs = [(coefs[LAYER], buffers.weights[LAYER][:-1]), (intercepts[LAYER], buffers.weights[LAYER][-1])]
        for ours, theirs in pairs:
            scale = np.abs(theirs).max()
            tolerance = 2e-3 if self.dtype == np.float32 else 1e-9
            np.testing.assert_allclose(ours[..., : theirs.shape[-1]] / scale, theirs / scale, atol=tolerance, rtol=0)

    def forget_slopes(self):
        """The backward pass works in place of the slopes; at zero, repeating it neither overflows nor underflows."""
        self.level(self.buffers.deltas, self.layout, 1)[:] = 0
        self.reference.buffers.deltas[1][:] = 0

    def close(self):
        """End the session."""
        self.session.__exit__(None, None, None)


def best_seconds(function, rounds=7, least=0.01):
    """Least seconds of one call, and how many calls a round of at least `least` seconds takes."""
    times, best = 1, None
    while best is None:
        start = time.perf_counter()
        function(times)
        seconds = time.perf_counter() - start
        if seconds >= least:
            best = seconds / times
        else:
            times *= 2
    for _ in range(rounds):
        start = time.perf_counter()
        function(times)
        best = min(best, (time.perf_counter() - start) / times)
    return best, times
