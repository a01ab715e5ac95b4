"""The classifier: its parameters, and what is predicted from a network's outputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from ..activations import Activation
from ..augmentations import Augmentation
from ..initializers import Initializer
from ..losses import LOSSES, Loss
from ..normalizations import BatchNormalization, LayerNormalization
from ..optimizers import Optimizer
from ..schedules import Schedule
from .configuration import Configuration, configure
from .constraints import CLASSIFICATION, loss_constraint
from .evaluation import OUTPUTS_AT_ONCE
from .labels import Labels, classes_of_columns, columns_are_classes, fitted_binarizer, without_sparse
from .perceptron import Perceptron, checked_epochs, unchanged_on_error
from .rows import ACCEPTED, as_rows
from .sklearn_internals import StrOptions, fit_context, is_first_partial_fit
from .stream import trained_by_stream
from .targets import Targets
from .weights import check_classes

if TYPE_CHECKING:
    from typing_extensions import Self

HALF = {"logistic": 0.0, "identity": 0.5, "tanh": np.arctanh(0.5), "exp": np.log(0.5)}  # the z of an output of 1/2


class MLPClassifier(ClassifierMixin, Perceptron):
    """Multi-layer perceptron classifier, a drop-in replacement of scikit-learn's.

    It minimizes the log loss: softmax over the classes, one logistic output for two classes, independent logistic
    outputs for a 0/1 matrix of labels (multilabel); or another loss.

    Parameters
    ----------
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
        Set ``validation_fraction`` of the rows aside (none where ``fit`` is given X_val), stop when the accuracy on
        them, or whatever ``scoring`` names, no longer improves, and keep the weights that were best. Not for 'lbfgs'
        and ``partial_fit``.
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
    class_weight : dict {label: weight}, 'balanced', list of dicts or None, default=None
        Weight of each class in the training loss, times ``sample_weight``; labels that a dict omits weigh 1.
        'balanced' is Σ w / (n_classes * Σ w over the rows of the class), w being ``sample_weight`` or 1; it is not for
        ``partial_fit``. For multilabel a list with a dict {0: weight, 1: weight} for each column, whose weights are
        multiplied. With loss 'kl_divergence' a row has the weight of its most probable class. Validation data are
        weighted by ``sample_weight`` alone.
    scoring : str, callable or None, default=None
        What early stopping watches. None: the accuracy. 'loss': the validation loss without penalty, its sign changed.
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
    n_estimators : int, default=1
        Networks to train side by side, one thread each, whose outputs (probabilities) are averaged; they are in
        ``estimators_``, with weights and history of their own. ``progress`` is not shown.
    loss : str or component, default='log_loss'
        'log_loss' (``LogLoss(label_smoothing=0.1)``), 'focal', 'squared_error' on one-hot targets (one output for two
        classes), or 'kl_divergence' to soft targets: y is then a matrix (n_samples, n_classes) of probabilities, whose
        columns are the classes 0, 1, 2, ... or ``KLDivergence(classes=...)``. Components of `fastmlp.losses`.
    one_hot : bool, default=False
        Take y as a one-hot matrix (n_samples, n_classes) of one label for each row, of classes 0, 1, 2, ...; without
        it such a matrix is multilabel, as in scikit-learn. ``score`` understands such a matrix; scikit-learn's scorers
        by name, such as ``cross_val_score(..., scoring="accuracy")``, do not: give them labels instead,
        ``y.argmax(axis=1)`` with ``one_hot=False``, which trains the same model.
    max_time : float or None, default=None
        Seconds after which training ends, with the step or the iteration of 'lbfgs' that is under way. The latest
        weights are kept, or with ``early_stopping`` the best ones, and a ConvergenceWarning tells where it was.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; columns of ``predict_proba`` have their order.
    coefs_, intercepts_ : lists of ndarrays of shapes (fan_in, fan_out) and (fan_out,)
        The weights of each layer. They may be replaced or modified; predictions follow.
    estimators_ : list of MLPClassifier
        The members, with ``n_estimators`` above 1. They keep weights, curves and history; of the ensemble, ``loss_`` is
        their mean and ``n_iter_`` their greatest.
    loss_ : float
        Loss of the last epoch, penalty included.
    best_loss_ : float or None
        Least loss of all epochs; None with early stopping. For every solver but 'lbfgs', as are the next five.
    loss_curve_ : list of float
        Loss of each epoch, the mean over its batches, each at the weights before its update.
    validation_scores_ : list of float or None
        Accuracy on the rows set aside, after each epoch; None without early stopping.
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
        Activation of the last layer, by the loss and ``output_activation``; for the log loss 'softmax' with three or
        more classes, 'logistic' otherwise.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are all strings.

    See Also
    --------
    MLPRegressor : The same for real targets.

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
    >>> from fastmlp import MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> classifier = MLPClassifier(random_state=0).fit(X_train, y_train)
    >>> classifier.predict(X_test[:5])
    array([2, 8, 2, 6, 6])
    >>> classifier.score(X_test, y_test) > 0.95
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **Perceptron._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "loss": loss_constraint(CLASSIFICATION),
        "one_hot": ["boolean"],
    }

    classes_: np.ndarray

    def __init__(
        self,
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
        class_weight: str | dict[Any, float] | list[dict[Any, float]] | None = None,
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
        loss: str | Loss = "log_loss",
        one_hot: bool = False,
        max_time: float | None = None,
    ) -> None:
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
        self.class_weight = class_weight
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
        self.loss = loss
        self.one_hot = one_hot
        self.max_time = max_time

    @available_if(lambda estimator: estimator._check_solver())
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None, *, n_epochs: int = 1
    ) -> "Self":
        """Train more epochs on the given rows; optimizer, weights and random stream go on where they were.

        Two calls are one longer call where ``shuffle=False``; with ``shuffle=True`` each call begins with the rows as
        they are given, while within a call each epoch shuffles the order of the one before. What a parameter does that
        was changed between two calls is in the table of "Parameters between fits" in the documentation. Schedules that
        go by the share of the training ('polynomial', 'one_cycle', 'coslog') plan each call anew.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            As for `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All labels that may ever occur; required by the first call, unless the columns of y are the classes.
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
            As `fit`; also if ``classes`` is missing at first or differs later, with ``early_stopping=True`` or
            ``weight_averaging``, and after ``drop_optimizer_state()``.
        """
        if not trained_by_stream(self, X, y, sample_weight, classes, n_epochs):
            self._partial_fit(X, y, sample_weight, classes, n_epochs)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any, n_epochs: int) -> None:
        """The ordinary way: checks of any kind of data, and a network of its own."""
        with unchanged_on_error(self):
            if hasattr(self, "n_outputs_"):
                check_classes(self)
            loss = LOSSES.resolve(self.loss)
            of_columns = columns_are_classes(self.one_hot, loss)
            if classes is None and of_columns and y is not None:
                classes = np.sort(classes_of_columns(y, loss))
            if is_first_partial_fit(self, classes):
                multilabel = not of_columns and y is not None and type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            self._fit(X, y, sample_weight, n_epochs=checked_epochs(n_epochs))

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_outputs) of 0 and 1 for multilabel
        """
        rows, _ = self._check_rows(X)
        check_classes(self)
        predicted = self._decide_in_blocks(rows, self._forward)
        if predicted.ndim == 1:
            return self.classes_[predicted]
        return self._label_binarizer.inverse_transform(predicted)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``. Rows sum to 1, except for multilabel. Outputs that are none (of
            'squared_error', say) are cut to [0, 1] and scaled.
        """
        outputs = self._outputs(X)
        check_classes(self)
        if self.out_activation_ == "softmax":
            return outputs
        if self.out_activation_ != "logistic":
            outputs = outputs.clip(0, 1)
        if self.n_outputs_ == 1:
            return np.hstack([1 - outputs, outputs])
        if self._known_labels().multilabel:
            return outputs
        total = outputs.sum(axis=1, keepdims=True)
        return np.where(total > 0, outputs / np.where(total > 0, total, 1), outputs.dtype.type(1 / self.n_outputs_))

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute logits, the values of the last layer before softmax or the logistic function.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)

        Returns
        -------
        logits : ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            Columns in the order of ``classes_``. Two classes: log(p / (1 - p)) of ``classes_[1]``.
        """
        logits = self._outputs(X, logits=True)
        check_classes(self)
        if self._known_labels().multilabel or len(self.classes_) > 2:
            return logits
        if self.n_outputs_ > 1:
            return logits[:, 1] - logits[:, 0]
        return logits[:, 0] - logits.dtype.type(HALF[self.out_activation_])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict log(predict_proba(X)).

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            As in ``fit``: of a matrix whose columns are classes, the most probable one counts.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        accuracy : float
        """
        loss = self._loss()[0]
        if columns_are_classes(self.one_hot, loss) and len(np.shape(y)) == 2:
            y = without_sparse(y)
            y = classes_of_columns(y, loss)[np.asarray(y).argmax(axis=1)]
        return super().score(X, y, sample_weight)

    def _check_data(
        self, X: Any, y: Any, configuration: Configuration, *, dtype: Any, incremental: bool, reset: bool
    ) -> tuple[Any, Targets]:
        """Check X and y as scikit-learn does; classes become codes, so that no one-hot matrix is made."""
        of_columns = columns_are_classes(configuration.one_hot, configuration.loss)
        X, y = self._checked_rows(X, y, of_columns, dtype, reset)
        self._check_labels(classes_of_columns(y, configuration.loss) if of_columns else y, incremental)
        return X, self._targets(y, X.dtype, configuration)

    def _check_validation_data(
        self, X: Any, y: Any, dtype: Any, configuration: Configuration | None = None
    ) -> tuple[Any, Targets]:
        """The same for validation data, in which labels may be missing but none may be new."""
        configuration = configuration or configure(self)
        of_columns = columns_are_classes(configuration.one_hot, configuration.loss)
        X, y = self._checked_rows(X, y, of_columns, dtype, False)
        if not of_columns:
            if (y.ndim == 2) != self._known_labels().multilabel:
                kind = "a 0/1 matrix" if self._known_labels().multilabel else "a vector of labels"
                raise ValueError(f"y_val must be {kind}, as y is.")
            new = np.setdiff1d(unique_labels(y), self.classes_)
            if len(new):
                raise ValueError(f"y_val has labels that y has not: {new}. `y` has {self.classes_}.")
        return X, self._targets(y, X.dtype, configuration)

    def _checked_rows(self, X: Any, y: Any, of_columns: bool, dtype: Any, reset: bool) -> tuple[Any, np.ndarray]:
        """X and y, checked apart from what the labels are."""
        y = without_sparse(y) if of_columns else y
        X, y = validate_data(self, X, y, multi_output=True, dtype=dtype, reset=reset, **ACCEPTED)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return as_rows(X), y

    def _targets(self, y: np.ndarray, dtype: np.dtype, configuration: Configuration) -> Targets:
        return self._known_labels().targets(
            y, dtype, configuration.loss, configuration.output, one_hot=configuration.one_hot
        )

    def _known_labels(self) -> Labels:
        """What the labels of the latest fit are."""
        return Labels(self.classes_, self._label_binarizer)

    def _check_labels(self, y: np.ndarray, incremental: bool) -> None:
        """Learn the classes, or compare with the known ones."""
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = fitted_binarizer(y)
            self.classes_ = self._label_binarizer.classes_
            return
        if hasattr(self, "n_outputs_"):
            check_classes(self)
        if (y.ndim == 2) != self._known_labels().multilabel:
            kind, got = ("a 0/1 matrix of labels", "a vector") if y.ndim == 1 else ("a vector of labels", "a matrix")
            raise ValueError(
                f"y must be {kind}, as in the previous call to fit; got {got}. A one-hot matrix needs one_hot=True."
            )
        classes = unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _decide_in_blocks(self, rows: np.ndarray, outputs: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`Labels.decide` for ``outputs(rows)``, some rows at a time, since a matrix of all may be large."""
        labels = self._known_labels()
        n_at_once = max(1, OUTPUTS_AT_ONCE // self.n_outputs_)
        n_rows = rows.shape[0]
        if n_rows <= n_at_once:
            return labels.decide(outputs(rows))
        starts = range(0, n_rows, n_at_once)
        return np.concatenate(
            [self._known_labels().decide(outputs(rows[start : start + n_at_once])) for start in starts]
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
