"""The regressor: its parameters, and what is predicted from a network's outputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from ..activations import Activation
from ..augmentations import Augmentation
from ..initializers import Initializer
from ..losses import Loss, Quantile
from ..normalizations import BatchNormalization, LayerNormalization
from ..optimizers import Optimizer
from ..schedules import Schedule
from .configuration import Configuration, configure
from .constraints import REGRESSION, loss_constraint
from .perceptron import Perceptron, checked_epochs, unchanged_on_error
from .rows import ACCEPTED, as_rows
from .sklearn_internals import fit_context
from .stream import trained_by_stream
from .targets import RealTargets, Targets

if TYPE_CHECKING:
    from typing_extensions import Self


class MLPRegressor(RegressorMixin, Perceptron):
    """Multi-layer perceptron regressor, a drop-in replacement of scikit-learn's.

    It minimizes half the mean squared error, or another loss, for one target or several.

    Parameters
    ----------
    loss : str or component, default='squared_error'
        'squared_error', (ŷ - y)² / 2, 'absolute_error', 'huber', 'log_cosh' or 'quantile', averaged over targets;
        'poisson', y log(y / ŷ) - y + ŷ for y ≥ 0, or 'gamma', y / ŷ - log(y / ŷ) - 1 for y > 0, both with ŷ = exp(z)
        and summed over targets. With their own numbers they are components of `fastmlp.losses`:
        ``Quantile(levels=(0.1, 0.5, 0.9))`` predicts several levels at once.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, from the input to the output. An empty tuple gives a linear model.
    activation : str, component or list of them, default='relu'
        f(z) of all hidden layers, or a list with one for each: 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu',
        'prelu', 'elu', 'selu', 'softplus', 'gelu', 'gelu_tanh', 'silu', 'mish', 'hard_sigmoid' or 'hard_swish', or one
        with its own number such as ``LeakyReLU(slope=0.1)`` from `fastmlp.activations`.
    solver : str or component, default='adam'
        'adam', or 'sgd' with momentum, both in minibatches; 'lbfgs', SciPy's L-BFGS over all rows at once, good for
        small data. Others: 'gradient_descent' (over all rows, unless ``batch_size`` is a number), 'momentum',
        'nesterov', 'adagrad', 'rmsprop', 'adadelta', 'amsgrad', 'adamw', 'nadam', 'radam' or 'lion', with their own
        numbers as components of `fastmlp.optimizers`. Usual learning rates: 1.0 for 'adadelta', 0.1 or so for
        'gradient_descent', for 'lion' a tenth of Adam's.
    alpha : float, default=0.0001
        Strength of the L2 penalty 0.5 * alpha * ||coefs_||² / (sum of the batch's weights); intercepts are exempt. It
        stays beside the weight decay that ``AdamW`` and ``Lion`` have of their own.
    batch_size : int or 'auto', default='auto'
        Rows per optimizer step; 'auto' is min(200, n_samples), for 'gradient_descent' all rows. The last batch of an
        epoch may be smaller.
    learning_rate : str or component, default='constant'
        Schedule of the learning rate; see `fastmlp.schedules` for 'step_decay', 'multi_step', 'exponential',
        'polynomial', 'cosine', 'one_cycle', 'warm_up', 'reduce_on_plateau' and 'coslog'. 'adam' ignores scikit-learn's
        three names, as there; every other solver, and components such as ``Adaptive()``, obey. 'polynomial',
        'one_cycle' and 'coslog' go by the share of the planned epochs that is done; each ``partial_fit`` plans its own.
        'invscaling': learning_rate_init / (t_ + 1) ** power_t after each epoch.
        'adaptive': divided by 5 whenever training would otherwise stop for lack of improvement, down to 1e-6.
    learning_rate_init : float, default=0.001
        Learning rate of the first epoch, or the greatest where the schedule begins low; for every solver but 'lbfgs'.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Most epochs, or iterations of 'lbfgs'.
    shuffle : bool, default=True
        Draw a new order of the rows before each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation split and, epoch by epoch, the order of rows. The stream is
        scikit-learn's: in float64 the same seed gives the same model, up to rounding. Only where they are switched on
        it also drives augmentation and dropout, before the order of rows in each epoch, and the seeds of the members.
    tol : float, default=1e-4
        Least improvement of the training loss (or the validation score) that counts; for 'lbfgs', the greatest
        component of the gradient at which to stop.
    verbose : bool, default=False
        Print a line for each epoch, or iteration of 'lbfgs': the loss, the seconds since the beginning, and the
        validation score with its name.
    warm_start : bool, default=False
        Start ``fit`` from the present weights, with a new optimizer, instead of drawing weights anew.
    momentum : float, default=0.9
        Momentum of 'sgd', 'momentum' and 'nesterov', from 0 to 1. It serves a solver that is named; a component such as
        ``Momentum(0.8)`` has its own numbers.
    nesterovs_momentum : bool, default=True
        Use Nesterov's form of momentum in 'sgd'.
    early_stopping : bool, default=False
        Set ``validation_fraction`` of the rows aside (none where ``fit`` is given X_val), stop when R² on them, or
        whatever ``scoring`` names, no longer improves, and keep the weights that were best. Not for 'lbfgs' and
        ``partial_fit``.
    validation_fraction : float, default=0.1
        Share of the rows to set aside.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay of the first and second moments, in [0, 1), of 'adam', 'adamw', 'amsgrad', 'nadam' and 'radam'. They serve
        a solver that is named; a component such as ``AdamW(beta_2=0.95)`` has its own numbers.
    epsilon : float, default=1e-8
        Added to the square root of the second moment; for the same solvers.
    n_iter_no_change : int or inf, default=10
        Stop after more than this many consecutive epochs without improvement.
    max_fun : int, default=15000
        Most evaluations of the loss, for 'lbfgs'.
    n_threads : int or None, default=None
        Threads to compute with. None uses the cores that the process may use, fewer where the work is too small to
        share; -1 uses all of them. The result is the same to the bit for any number.
    dtype : {'auto', 'float32', 'float64'} or a NumPy dtype, default='auto'
        Precision of weights and arithmetic. 'auto' follows X: float32 if X is float32, float64 otherwise.
    scoring : str, callable or None, default=None
        What early stopping watches. None: R². 'loss': the validation loss without penalty, its sign changed.
        Otherwise one of scikit-learn's scorers, by name or as a callable (estimator, X, y) -> float, which is given a
        copy of the estimator with the weights of the moment, and X as a checked array. That costs a copy of the weights
        and the scorer's own checks in each epoch, and a copy of the rows set aside.
    metrics : str, list of str, dict {name: scorer} or None, default=None
        Scorers to record in ``history_`` after each epoch, on the training data and (as ``val_name``) on validation
        data, for every solver but 'lbfgs'. The training data are predicted once per epoch for it, as they were given,
        without augmentation: about a third of the epoch's work.
    progress : bool, callable or None, default=None
        Displays the progress of every solver but 'lbfgs'; True is `fastmlp.progress.bar`. A callable is given
        (max_epochs, n_rows) and returns a context manager, whose value has ``update(epochs, rows, loss)``.
    output_activation : {'auto', 'identity', 'logistic', 'tanh', 'exp', 'softmax'}, default='auto'
        Of the last layer, one that the loss allows; 'auto' takes the loss's own.
    initializer : str, component or (coefs, intercepts), default='auto'
        Initial weights: 'auto' draws scikit-learn's; 'zeros', 'normal', 'uniform', 'glorot_uniform', 'glorot_normal',
        'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal' or 'orthogonal', with intercepts of zero;
        'data_driven', by rows of X; or one of them with its own numbers such as ``Normal(std=1)`` from
        `fastmlp.initializers`; or arrays of one's own.
    normalization : {'batch', 'layer'}, component or None, default=None
        Of the hidden layers, between product and activation; see `fastmlp.normalizations`. ``coefs_`` and
        ``intercepts_`` have batch normalization folded in.
    dropout : float or array-like of shape (n_hidden_layers + 1,), default=0.0
        Share p of outputs that training sets to 0 at random, in every hidden layer; or of the inputs and each hidden
        layer. The others are divided by 1 - p [4]_.
    l1 : float, default=0.0
        Strength of the penalty l1 * ||coefs_||_1 / (sum of the batch's weights).
    clip_value, clip_norm : float or None, default=None
        Limits of the gradient g of a batch, the mean over its rows with the penalties, intercepts and learned slopes
        included: first each component is cut to [-clip_value, clip_value], then
        g = g * min(1, clip_norm / ||g||), the norm over all layers [5]_.
    max_norm : float or None, default=None
        Greatest norm of the weights w into a unit, of every layer: after each step w = w * min(1, max_norm / ||w||),
        without the intercept [4]_.
    augmentation : str, component, list of them or None, default=None
        'gaussian_noise', 'mixup' or 'shift', or one of them with its own numbers, from `fastmlp.augmentations`: changes
        of the training rows before each epoch.
    weight_averaging : float in [0, 1) or None, default=None
        Share of the planned epochs after which weights are averaged, once an epoch; the model is the mean (stochastic
        weight averaging [6]_). ``loss_`` and all curves are those of the weights before averaging. Not for
        ``partial_fit``.
    max_time : float or None, default=None
        Seconds after which training ends, with the step or the iteration of 'lbfgs' that is under way. The latest
        weights are kept, or with ``early_stopping`` the best ones, and a ConvergenceWarning tells where it was.
    n_estimators : int, default=1
        Networks to train side by side, one thread each, whose outputs are averaged; they are in ``estimators_``, with
        weights and history of their own. ``progress`` is not shown.

    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarrays of shapes (fan_in, fan_out) and (fan_out,)
        The weights of each layer. They may be replaced or modified; predictions follow.
    estimators_ : list of MLPRegressor
        The members, with ``n_estimators`` above 1. They keep weights, curves and history; of the ensemble, ``loss_`` is
        their mean and ``n_iter_`` their greatest.
    loss_ : float
        Loss of the last epoch, penalty included.
    best_loss_ : float or None
        Least loss of all epochs; None with early stopping. For every solver but 'lbfgs', as are the next five.
    loss_curve_ : list of float
        Loss of each epoch, the mean over its batches, each at the weights before its update.
    validation_scores_ : list of float or None
        R² on the rows set aside, after each epoch; None without early stopping.
    best_validation_score_ : float or None
        The best of them; its weights are those of the model.
    validation_loss_curve_ : list of float or None
        Loss on the validation data after each epoch, without penalty; None without validation data.
    history_ : dict of lists of float
        For each epoch: 'loss', 'learning_rate' and 'seconds'; 'val_loss' with validation data; ``metrics`` by name, and
        as ``val_name`` on validation data. NaN where an epoch was not measured.
    n_iter_ : int
        Epochs or iterations of the latest ``fit``.
    t_ : int
        Rows seen in training, over all epochs.
    n_layers_ : int
        Layers, the input and the output among them.
    n_outputs_ : int
        Units of the last layer.
    out_activation_ : str
        Activation of the last layer, by the loss and ``output_activation``; by default 'exp' for the Poisson and gamma
        losses, 'identity' for the others.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are all strings.

    See Also
    --------
    MLPClassifier : The same for labels.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980.
    .. [2] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
       AISTATS 2010: the initial weights.
    .. [3] I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in deep
       learning", ICML 2013: Nesterov's momentum.
    .. [4] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: A Simple Way to Prevent
       Neural Networks from Overfitting", JMLR 15, 2014: dropout, and ``max_norm`` in section 5.1.
    .. [5] R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
       algorithm 1: ``clip_norm``.
    .. [6] P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov and A. G. Wilson, "Averaging Weights Leads to Wider Optima
       and Better Generalization", UAI 2018, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import MLPRegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.sin(3 * X[:, 0])
    >>> regressor = MLPRegressor(solver="lbfgs", activation="tanh", random_state=0, max_iter=500).fit(X, y)
    >>> regressor.score(X, y) > 0.99
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **Perceptron._parameter_constraints,
        "loss": loss_constraint(REGRESSION),
    }

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: ArrayLike = (100,),
        activation: str | Activation | Sequence[str | Activation] = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        dtype: DTypeLike = "auto",
        scoring: str | Callable[..., float] | None = None,
        metrics: str | Sequence[str] | Mapping[str, Any] | None = None,
        progress: bool | Callable[..., Any] | None = None,
        output_activation: str = "auto",
        initializer: str | Initializer | Sequence[Sequence[np.ndarray]] = "auto",
        normalization: str | BatchNormalization | LayerNormalization | None = None,
        dropout: ArrayLike = 0.0,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        augmentation: str | Augmentation | Sequence[str | Augmentation] | None = None,
        weight_averaging: float | None = None,
        n_estimators: int = 1,
        max_time: float | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_threads = n_threads
        self.dtype = dtype
        self.scoring = scoring
        self.metrics = metrics
        self.progress = progress
        self.output_activation = output_activation
        self.initializer = initializer
        self.normalization = normalization
        self.dropout = dropout
        self.l1 = l1
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.augmentation = augmentation
        self.weight_averaging = weight_averaging
        self.n_estimators = n_estimators
        self.max_time = max_time

    @available_if(lambda estimator: estimator._check_solver())
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, n_epochs: int = 1) -> "Self":
        """Train more epochs on the given rows; optimizer, weights and random stream go on where they were.

        Two calls are one longer call where ``shuffle=False``; with ``shuffle=True`` each call begins with the rows as
        they are given, while within a call each epoch shuffles the order of the one before. What a parameter does that
        was changed between two calls is in the table of "Parameters between fits" in the documentation. Schedules that
        go by the share of the training ('polynomial', 'one_cycle', 'coslog') plan each call anew.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        n_epochs : int, default=1
            Epochs to train, none of which stops early. They equal ``fit`` with ``max_iter=n_epochs``, ``tol=0`` and
            ``n_iter_no_change=inf``, after which later calls go on.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As `fit`; also with ``early_stopping=True`` or ``weight_averaging``, and after ``drop_optimizer_state()``.
        """
        if not trained_by_stream(self, X, y, sample_weight, None, n_epochs):
            self._partial_fit(X, y, sample_weight, n_epochs)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, n_epochs: int) -> None:
        """The ordinary way: checks of any kind of data, and a network of its own."""
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight, n_epochs=checked_epochs(n_epochs))

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_outputs) for several targets
            With several quantiles one more axis, their levels, is the last one.
        """
        outputs = self._outputs(X)
        levels = RealTargets.of(self._loss()[0]).outputs_per_target
        if levels > 1:
            outputs = outputs.reshape(len(outputs), -1, levels)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R²; of quantiles D², its counterpart for the pinball loss, averaged over levels.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            At most 1; 0 is what the best constant would reach. See `sklearn.metrics.d2_pinball_score`.
        """
        loss = self._loss()[0]
        if not isinstance(loss, Quantile):
            return super().score(X, y, sample_weight)
        outputs = self._outputs(X)
        scores = [
            d2_pinball_score(y, outputs[:, n :: len(loss.levels)], sample_weight=sample_weight, alpha=level)
            for n, level in enumerate(loss.levels)
        ]
        return float(np.mean(scores))

    def _check_data(
        self, X: Any, y: Any, configuration: Configuration, *, dtype: Any, incremental: bool, reset: bool
    ) -> tuple[Any, Targets]:
        """Check X and y as scikit-learn does; targets become a matrix of X's dtype."""
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=dtype, reset=reset, **ACCEPTED)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        loss = configuration.loss
        return as_rows(X), RealTargets.of(loss).targets(y, X.dtype, loss, configuration.output)

    def _check_validation_data(
        self, X: Any, y: Any, dtype: Any, configuration: Configuration | None = None
    ) -> tuple[Any, Targets]:
        """The same for validation data."""
        configuration = configuration or configure(self)
        return self._check_data(X, y, configuration, dtype=dtype, incremental=True, reset=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
