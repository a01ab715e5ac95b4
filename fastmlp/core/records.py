"""The records of the engine: what Python hands to it in tables, and what its passes hand to each other.

Sizes in the comments: L layers of n_0 ... n_L units, n_l below layer l and n_(l+1) above it; a chunk of m rows; P
numbers that hold all parameters, padding included; T threads. The kinds of fields are those of `machine.record`. All
offsets count numbers, not bytes.
"""

from typing import NamedTuple

from ..losses import LossCodes
from ..machine.record import Integers, Number, Numbers, Reals

# Kinds of tasks: steps; the gradient of one batch; a step by a gradient that is there; predictions.
TRAIN, DIFFERENTIATE, APPLY, PREDICT = range(4)
# Codes of the normalizations, in the order of their registry after none.
NO_NORMALIZATION, BATCH, LAYER = range(3)
# What a unit has beside its weights: its activation's hyperparameter; gain and shift of its normalization; running mean
# and variance. The first three are learned.
HYPERPARAMETERS, GAINS, SHIFTS, MEANS, VARIANCES = range(5)
LEARNED, UNIT_PARAMETERS = 3, 5
# Phases of an update: all at once; or first the whole gradient, then the step.
ALL, GRADIENT, STEP = range(3)
OPTIMIZER_SCALARS = 8  # at most, of an optimizer step


class Layout(NamedTuple):
    """Where everything lies; see `layout`."""

    layers: int  # L
    blocks: int  # of the weights of all layers
    unit_parameters_at: int  # where unit parameters begin in an array of P numbers
    unit_parameter_row: int  # numbers of one unit parameter, for the units of all levels
    units: Integers  # (L + 1,) n_0 ... n_L
    rows_at: Integers  # (L + 2,) where the rows of a level begin; the last one is where they all end
    stride: Integers  # (L + 1,) numbers from one row of a level to the next
    weights_at: Integers  # (L + 1,) where the weights of a layer begin
    blocks_at: Integers  # (L + 1,) its first block
    narrow: Integers  # (L,) stride of the rows of a narrow layer's weights, 0 for the others
    sparse: Integers  # (L,) whether the rows below a layer are sparse; only those of layer 0 can be
    units_at: Integers  # (L + 2,) where a level's units begin in a row of unit parameters


class SparseRows(NamedTuple):
    """Sparse inputs (CSR): of each row the features and numbers that are stored, features ascending, none twice."""

    indptr: Integers  # (n_rows + 1,) where the entries of a row begin
    indices: Integers  # (n_entries,) features
    values: Numbers  # (n_entries,)
    bounds: Integers  # (m, 2) of each row of the chunk, its first entry and the one after its last


class Buffers(NamedTuple):
    """What a step reads and writes; arrays begin at cache lines."""

    weights: Numbers  # (P,) parameters in panels, then unit parameters
    state0: Numbers  # (P,) or (0,): the optimizer's states, as the weights lie
    state1: Numbers  # likewise
    state2: Numbers  # likewise
    # (T, tile): a tile for each thread; or (P,), as the weights lie, where a task needs it whole. Where the inputs are
    # sparse, that of layer 0 comes first, whole, and is zero between steps.
    gradient: Numbers
    outputs: Numbers  # for each level (m, n_l + 1), rows padded: A, whose last column is 1
    deltas: Numbers  # likewise: first the slopes f'(z), then delta
    saved: Numbers  # (LEARNED, size of outputs): what each row gives to the gradient of a learned unit parameter
    unit_parameter_gradient: Numbers  # (LEARNED, unit_parameter_row)
    # (2, unit_parameter_row) mean and 1 / deviation of each unit; then (L + 1, m) 1 / deviation of each row
    statistics: Numbers
    optimizer_scalars: Numbers  # (steps ahead, groups, OPTIMIZER_SCALARS)
    loss_hyperparameters: Numbers  # (n_L,) that of the loss, for each output
    losses: Numbers  # (m,)
    # Each thread's own: (KC, panel) a transposed stretch of a panel of weights, then (m, panel) products.
    scratch: Numbers
    zeros: Numbers  # (panel,) where a tile starts that starts from nothing
    penalties: Reals  # (blocks,) of each block of weights
    norms: Reals  # (blocks + 1,) squared gradient of each block, and of all unit parameters
    rows: SparseRows


class Data(NamedTuple):
    """What a session works on."""

    ordered: bool  # whether there is an `order`
    weighted: bool  # whether there is a `sample_weight`
    order: Integers  # (n_rows,) indices of rows, in the order in which they are taken
    codes: Integers  # (n_rows,) class of each row, or (0,)
    inputs: Numbers  # (n_rows, n_0), or (0,) where they are sparse
    targets: Numbers  # (n_rows, n_L), or (0,) where they are codes
    sample_weight: Numbers  # (n_rows,) or (0,)
    predictions: Numbers  # (rows to predict, n_L)


class Components(NamedTuple):
    """What a network is made of, as codes."""

    loss: LossCodes
    optimizer: int
    groups: int  # of parameters with scalars of their own in a step: 1, or all that there are
    normalization: int
    unit_parameters: bool  # whether units learn anything beside their weights
    activation: Integers  # (L,) of each layer; identity for the last one
    learned: Integers  # (L,) whether its activation's hyperparameter is learned


class PredictionForm(NamedTuple):
    """What a prediction needs beside weights and rows."""

    components: Components
    layout: Layout
    buffers: Buffers
    epsilon: Number  # of the normalization
    capacity: int  # rows that the buffers hold
    holds_all: int  # whether the scratch has room for the panels of all layers


class Task(NamedTuple):
    """What the leader asks for, in a table that all read when the task begins."""

    kind: int  # TRAIN, DIFFERENTIATE, APPLY or PREDICT
    start: int  # positions of the order to work through
    stop: int  # a training changes it to where it has stopped
    rows: int  # length of the order
    batch: int  # rows of a batch
    chunk: int  # rows of a part of a batch
    step: int = 0  # the row of `optimizer_scalars` for position 0; may be negative
    seed: int = 0  # of this epoch's random bits
    tiles: int = -1  # where in `gradient` the threads' tiles begin, -1 where it is whole
    tile: int = 0  # numbers of each thread's part of the tiles
    patience: int = 0  # nanoseconds at barriers, beyond a share of the time, after which a training stops early


STOP = Task._fields.index("stop")


class Settings(NamedTuple):
    """What a user chooses for an epoch."""

    alpha: Number = 0.0  # L2 penalty
    l1: Number = 0.0  # L1 penalty
    clip_value: Number = float("inf")  # of a component of the gradient
    clip_norm: float = float("inf")  # of the whole gradient
    max_norm: Number = float("inf")  # of the weights into a unit
    momentum: Number = 0.1  # of the normalization's running statistics
    epsilon: Number = 1e-5  # of the normalization


class StepScalars(NamedTuple):
    """The scalars of one step."""

    settings: Settings
    share: Number  # 1 / sum of the batch's sample weights
    scale: Number  # what clipping by the norm leaves of the gradient
    groups: int  # see Components
    optimizer_scalars: int  # where the optimizer's begin in `optimizer_scalars`, those of the first group


class Passes(NamedTuple):
    """The passes that only some networks and tasks need: kernels, by the address of each, 0 where none has needed it.

    To compile a kernel takes seconds, so that `engine.work` holds what nearly all fits need, and calls the rest.
    """

    units: int  # see `units.unit_pass`
    sparse: int  # see `sparse.sparse_pass`
    outputs: int  # see `outputs.output_pass`


class Tables(NamedTuple):
    """What a thread works on, for those passes: the tables of its records."""

    components: Integers
    layout: Integers
    buffers: Integers
    data: Integers
    context: Integers
    chunk: Integers


class ThreadContext(NamedTuple):
    """What a thread knows of its team beside the buffers; all but its rank is the same for all."""

    rank: int  # 0, which leads, to T - 1
    n_threads: int  # T
    capacity: int  # rows that the buffers hold
    scratch: int  # numbers of each thread's part of `scratch`
    barrier_state: Integers  # see `barrier`
    task: Integers  # the table of a Task
    partition: Integers  # (T + 1, L) the first block of each layer that a thread owns
    settings: Integers  # the table of Settings
    keep: Reals  # (L,) share of the outputs that dropout leaves, of the inputs and each hidden layer
    total: Reals  # (2,) the loss of the epoch so far; how many steps the session has taken
    passes: Integers  # the table of Passes
    tables: Integers  # that of the thread's own Tables
    chunk: Integers  # that of the thread's own Chunk


class Span(NamedTuple):
    """What a thread owns in phase 1: some rows of a chunk."""

    at: int  # position in the order of the chunk's row 0
    start: int  # the thread's rows of the chunk
    stop: int
    rows: int  # rows of the chunk
    last: int  # length of the order, up to which rows are fetched ahead
    scratch: int  # where the thread's part of `scratch` begins
    capacity: int  # rows that the buffers hold


class Blocks(NamedTuple):
    """What a thread owns in phase 2: some blocks of a layer's weights."""

    start: int  # the thread's blocks of the layer
    stop: int
    rows: int  # rows of the chunk; 0 where their gradient is there already
    accumulate: bool  # whether `gradient` holds the sum over earlier chunks of the batch
    tile: int  # where the thread's tile begins in `gradient`, or -1 where the gradient lies there whole
    phase: int  # ALL, GRADIENT or STEP


class Chunk(NamedTuple):
    """What a thread is at; it writes that down where there are passes of other kernels."""

    span: Span
    scalars: StepScalars
    blocks: Blocks  # of no layer
    ends_batch: bool
    seed: int  # of this epoch's random bits


class Batch(NamedTuple):
    """A batch."""

    number: int  # of the epoch
    start: int  # positions in the order
    stop: int
    weight: float  # sum of the sample weights of its rows


class WaitingTime(NamedTuple):
    """How long the threads had waited at barriers, all together, until some moment."""

    moment: int  # in nanoseconds
    waited: int  # nanoseconds
