"""What a fit leaves behind for the next one: curves and counters, as attributes of the estimator."""

from typing import Any

from ..training import History

HISTORY_ATTRIBUTES = (
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "validation_loss_curve_",
    "history_",
    "_no_improvement_count",
)


def forget_training(estimator: Any) -> None:
    """Remove what an earlier fit has left, before weights are drawn anew."""
    for name in (*HISTORY_ATTRIBUTES, "loss_", "_optimizer"):
        vars(estimator).pop(name, None)


def history_of(estimator: Any) -> History:
    """The history so far, to be continued by a warm start or partial_fit."""
    if not hasattr(estimator, "loss_curve_"):
        return History(rows_seen=estimator.t_)
    scores = getattr(estimator, "validation_scores_", None)
    measures = {name: list(values) for name, values in getattr(estimator, "history_", {}).items()}
    measures.pop("loss", None)
    history = History(
        loss_curve=list(estimator.loss_curve_),
        learning_rates=measures.pop("learning_rate", []),
        seconds=measures.pop("seconds", []),
        measures=measures,
        validation_scores=None if scores is None else list(scores),
        best_loss=estimator.best_loss_,
        best_validation_score=getattr(estimator, "best_validation_score_", None),
        no_improvement_count=estimator._no_improvement_count,
        rows_seen=estimator.t_,
    )
    history.pad()
    return history


def show_history(estimator: Any, history: History) -> None:
    """Set the lists that grow during the fit, so that another thread can follow it."""
    estimator.loss_curve_ = history.loss_curve
    estimator.validation_loss_curve_ = history.measures.get("val_loss")
    estimator.history_ = history.as_dict()


def set_history(estimator: Any, history: History) -> None:
    """Set all that a fit leaves."""
    show_history(estimator, history)
    estimator.best_loss_ = history.best_loss
    estimator.validation_scores_ = history.validation_scores
    estimator.best_validation_score_ = history.best_validation_score
    estimator._no_improvement_count = history.no_improvement_count
    estimator.t_ = history.rows_seen
    estimator.n_iter_ = history.n_epochs
    if history.loss_curve:
        estimator.loss_ = history.loss_curve[-1]
