"""Classification: labels to codes and back, probabilities, accuracy for early stopping."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from .judging import OUTPUTS_AT_ONCE, Sample
from .perceptron import Perceptron, Targets, checked_epochs, unchanged_on_error
from .rows import ACCEPTED, as_rows


class MLPClassifier(ClassifierMixin, Perceptron):
    """Multi-layer perceptron classifier, a drop-in replacement of scikit-learn's.

    It minimizes the log loss: softmax over the classes, one logistic output for two classes, independent logistic
    outputs for a 0/1 matrix of labels (multilabel).

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer, from the input to the output. An empty tuple gives a linear model.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        f(z) of the hidden layers: z, 1 / (1 + exp(-z)), tanh(z), or max(0, z).
    solver : {'adam', 'sgd', 'lbfgs'}, default='adam'
        Adam or gradient descent with momentum, both in minibatches; or SciPy's L-BFGS over all rows at once, good for
        small data.
    alpha : float, default=0.0001
        Strength of the L2 penalty 0.5 * alpha * ||coefs_||² / (sum of the batch's weights); intercepts are exempt.
    batch_size : int or 'auto', default='auto'
        Rows per optimizer step; 'auto' is min(200, n_samples). The last batch of an epoch may be smaller.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Schedule for ``solver='sgd'``. 'invscaling': learning_rate_init / (t_ + 1) ** power_t after each epoch.
        'adaptive': divided by 5 whenever training would otherwise stop for lack of improvement, down to 1e-6.
    learning_rate_init : float, default=0.001
        Learning rate of the first epoch, for 'sgd' and 'adam'.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Most epochs ('sgd', 'adam') or iterations ('lbfgs').
    shuffle : bool, default=True
        Draw a new order of the rows before each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation split and the order of rows. The stream is scikit-learn's: in
        float64 the same seed gives the same model, up to rounding.
    tol : float, default=1e-4
        Least improvement of the training loss (or the validation score) that counts; for 'lbfgs', the greatest
        component of the gradient at which to stop.
    verbose : bool, default=False
        Print a line per epoch.
    warm_start : bool, default=False
        Start ``fit`` from the present weights, with a new optimizer, instead of drawing weights anew.
    momentum : float, default=0.9
        Momentum of 'sgd', from 0 to 1.
    nesterovs_momentum : bool, default=True
        Use Nesterov's form of momentum.
    early_stopping : bool, default=False
        Set ``validation_fraction`` of the rows aside (none where ``fit`` is given X_val), stop when the accuracy on
        them, or whatever ``scoring`` names, no longer improves, and keep the weights that were best. Not for 'lbfgs'
        and ``partial_fit``.
    validation_fraction : float, default=0.1
        Share of the rows to set aside.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay of Adam's first and second moments, in [0, 1).
    epsilon : float, default=1e-8
        Added to the square root of Adam's second moment.
    n_iter_no_change : int or inf, default=10
        Stop after more than this many consecutive epochs without improvement.
    max_fun : int, default=15000
        Most evaluations of the loss, for 'lbfgs'.
    n_threads : int or None, default=None
        Threads to compute with. None uses the cores that the process may use, fewer where the work is too small to
        share. The result is the same to the bit for any number.
    dtype : {'auto', 'float32', 'float64'}, default='auto'
        Precision of weights and arithmetic. 'auto' follows X: float32 if X is float32, float64 otherwise.
    class_weight : dict {label: weight}, 'balanced', list of dicts or None, default=None
        Weight of each class in the training loss, times ``sample_weight``; labels that a dict omits weigh 1.
        'balanced' is n_samples / (n_classes * rows of the class), and not for ``partial_fit``. For multilabel a list
        with a dict {0: weight, 1: weight} for each column, whose weights are multiplied. Validation data are weighted
        by ``sample_weight`` alone.
    scoring : str, callable or None, default=None
        What early stopping watches. None: the accuracy. 'loss': the validation loss without penalty, its sign changed.
        Otherwise one of scikit-learn's scorers, by name or as a callable (estimator, X, y) -> float, which is given a
        copy of the estimator with the weights of the moment, and X as a checked array. That costs a copy of the weights
        and the scorer's own checks in each epoch, and a copy of the rows set aside.
    metrics : str, list of str, dict {name: scorer} or None, default=None
        Scorers to record in ``history_`` after each epoch, on the training data and (as ``val_name``) on validation
        data, for 'sgd' and 'adam'. The training data are predicted once per epoch for it, about a third of the
        epoch's work.
    progress : callable or None, default=None
        Displays the progress of 'sgd' and 'adam', such as `fastmlp.progress.bar`: (max_epochs, n_rows) -> a context
        manager, whose value has ``update(epochs, rows, loss)``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; columns of ``predict_proba`` have their order.
    coefs_, intercepts_ : lists of ndarrays of shapes (fan_in, fan_out) and (fan_out,)
        The weights of each layer. They may be replaced or modified; predictions follow.
    loss_ : float
        Loss of the last epoch, penalty included.
    best_loss_ : float or None
        Least loss of all epochs; None with early stopping. For 'sgd' and 'adam', as are the next three.
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
        'softmax' for three or more classes, 'logistic' otherwise.
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

    _parameter_constraints: dict = {
        **Perceptron._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    loss = "log_loss"
    classes_: np.ndarray

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_threads=None,
        dtype="auto",
        class_weight=None,
        scoring=None,
        metrics=None,
        progress=None,
    ):
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

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, *, n_epochs: int = 1
    ) -> "MLPClassifier":
        """Train more epochs on the given rows; optimizer, weights and random stream go on where they were.

        Parameters
        ----------
        X : {array-like, sparse CSR or CSC} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All labels that may ever occur; required by the first call.
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
            As `fit`; also if ``classes`` is missing at first or differs later, with ``early_stopping=True``, and after
            ``drop_optimizer_state()``.
        """
        with unchanged_on_error(self):
            if _check_partial_fit_first_call(self, classes):
                multilabel = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            self._fit(X, y, sample_weight, n_epochs=checked_epochs(n_epochs))
        return self

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
            Columns in the order of ``classes_``. Rows sum to 1, except for multilabel.
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

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
        logits = self._outputs(X, loss="squared_error")
        return logits if self._label_binarizer.y_type_.startswith("multi") else logits[:, 0]

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

    def _check_data(self, X: Any, y: Any, *, dtype: Any, incremental: bool, reset: bool) -> tuple[np.ndarray, Targets]:
        """Check X and y as scikit-learn does; classes become codes, so that no one-hot matrix is made."""
        X, y = validate_data(self, X, y, multi_output=True, dtype=dtype, reset=reset, **ACCEPTED)
        X = as_rows(X)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._check_labels(y, incremental)
        return X, self._targets(y, X.dtype)

    def _check_validation_data(self, X: Any, y: Any, dtype: Any) -> tuple[np.ndarray, Targets]:
        """The same for validation data, in which labels may be missing but none may be new."""
        X, y = validate_data(self, X, y, multi_output=True, dtype=dtype, reset=False, **ACCEPTED)
        X = as_rows(X)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        multilabel = self._label_binarizer.y_type_.startswith("multilabel")
        if (y.ndim == 2) != multilabel:
            raise ValueError(f"y_val must be {'a 0/1 matrix' if multilabel else 'a vector of labels'}, as y is.")
        new = np.setdiff1d(unique_labels(y), self.classes_)
        if len(new):
            raise ValueError(f"y_val has labels that y has not: {new}. `y` has {self.classes_}.")
        return X, self._targets(y, X.dtype)

    def _targets(self, y: np.ndarray, dtype: np.dtype) -> Targets:
        """Labels as the loss wants them."""
        if self._label_binarizer.y_type_ == "multiclass" and y.ndim == 1:
            codes = np.searchsorted(self.classes_, y).astype(np.int64, copy=False)
            return Targets(codes, len(self.classes_), "softmax")
        matrix = self._label_binarizer.transform(y)
        stratify = np.where(matrix[:, 0], "True", "False") if matrix.shape[1] == 1 else None
        return Targets(matrix.astype(dtype), matrix.shape[1], "logistic", stratify)

    def _labels(self, values: np.ndarray) -> np.ndarray:
        """Labels from targets."""
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return values.astype(np.intp)
        return self.classes_[values if values.ndim == 1 else values[:, 0].astype(np.intp)]

    def _check_labels(self, y: np.ndarray, incremental: bool) -> None:
        """Learn the classes, or compare with the known ones."""
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return
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

    def _class_weights(self, targets: Targets, incremental: bool) -> np.ndarray | None:
        """Weight of each row by its class; None weighs all alike."""
        if self.class_weight is None:
            return None
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough "
                "sample of the full training set target to properly estimate the class frequency distributions. Pass "
                "the resulting weights as the class_weight parameter."
            )
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return compute_sample_weight(self.class_weight, targets.values.astype(np.intp))
        codes = targets.values if targets.values.ndim == 1 else targets.values[:, 0].astype(np.intp)
        if isinstance(self.class_weight, list):
            raise ValueError("class_weight may be a list of dicts for multilabel targets only; give a dict.")
        return compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[codes])[codes]

    def _decide_in_blocks(self, rows: np.ndarray, outputs: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`_decide` for ``outputs(rows)``, some rows at a time: a thousand classes need no n_rows × 1000 matrix."""
        n_at_once = max(1, OUTPUTS_AT_ONCE // self.n_outputs_)
        n_rows = rows.shape[0]
        if n_rows <= n_at_once:
            return self._decide(outputs(rows))
        starts = range(0, n_rows, n_at_once)
        return np.concatenate([self._decide(outputs(rows[start : start + n_at_once])) for start in starts])

    def _decide(self, outputs: np.ndarray) -> np.ndarray:
        """From probabilities to codes or a 0/1 matrix."""
        if self.out_activation_ == "softmax":
            return outputs.argmax(axis=1)
        if self._label_binarizer.y_type_ == "binary":
            only_one_class = len(self.classes_) == 1
            return (outputs[:, 0] > np.inf if only_one_class else outputs[:, 0] > 0.5).astype(np.intp)
        return (outputs > 0.5).astype(np.intp)

    def _score(self, sample: Sample) -> Callable[[], float]:
        """Accuracy on a sample: the share of the rows' weights whose prediction is right in every label."""
        binary = self._label_binarizer.y_type_ == "binary"

        def right(outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
            right = self._decide(outputs) == (truth[:, 0] if binary else truth)
            return right.all(axis=1) if right.ndim == 2 else right

        return lambda: sample.average(right)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
