"""Networks of several recipes trained side by side, the selection among them, and the model made of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np

from ..core.network import Network
from ..core.session import Session
from ..estimators.ensemble import side_by_side
from ..machine.cores import available_cores
from .members import Member, folded
from .presets import Preset, Recipe, cycles_in
from .selection import Score, Split, best_of, greedy
from .training import Problem, Run, train

SPARE = 0.9  # of the time left is planned
Job = tuple[Recipe, int, int, int | None]  # recipe, copy, seed, split
FIRST_LAYER = 16.0  # inputs times this over √d: the first layer's learning rate in NTK's parametrization


class Clock:
    """When a fit must end, and how far it is.

    Parameters
    ----------
    seconds : for all of it, or None
    display : has ``update(epochs, rows, loss)``, or None
    planned : epochs of all networks, at most
    """

    def __init__(self, seconds: float | None, display: Any, planned: int = 0) -> None:
        self.start = monotonic()
        self.deadline = math.inf if seconds is None else self.start + seconds
        self.display = display
        self.planned = planned
        self.epochs = 0
        self._lock = Lock()

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - monotonic()

    def tick(self) -> None:
        """Another epoch is done, in whatever thread."""
        with self._lock:
            self._reach(self.epochs + 1)

    def leave(self, epochs: int) -> None:
        """No more than so many epochs are left of what was planned: networks that need no training count as done."""
        with self._lock:
            if self.planned - epochs > self.epochs:
                self._reach(self.planned - epochs)

    def _reach(self, epochs: int) -> None:
        self.epochs = epochs
        if self.display is not None:
            self.display.update(epochs, 0, None)


@dataclass
class Trained:
    """A network trained on the training rows of a split, or on all where that is None; copies differ in their seeds."""

    recipe: Recipe
    copy: int
    seed: int
    split: int | None
    run: Run


@dataclass
class Candidate:
    """Networks that are selected together.

    Attributes
    ----------
    parts : the networks, and the snapshot of each
    outputs : their mean for the validation rows, or None
    """

    parts: list[tuple[Trained, int]]
    outputs: Any

    @property
    def epoch(self) -> int:
        """Epochs that the first one has trained."""
        item, end = self.parts[0]
        return item.run.ends[end]

    def shortened(self) -> Recipe:
        """The recipe that ends where the snapshot was taken."""
        item, end = self.parts[0]
        cycles = min(cycles_in(item.recipe), min(2, cycles_in(item.recipe)) + end)
        return replace(item.recipe, max_epochs=self.epoch, cycles=cycles)


@dataclass
class Outcome:
    """What a search has found.

    Attributes
    ----------
    members : of the model; ``validated`` : those of them that have not seen the validation rows
    best_epoch : of the network that was selected first
    score, outputs : of the validation rows by the selected networks together; NaN and None without any
    history : a dict for each network trained
    """

    members: list[Member]
    validated: list[Member]
    best_epoch: int
    score: float
    outputs: np.ndarray | None
    history: list[dict[str, Any]]


class Search:
    """Trains the recipes of a preset on the splits, selects, and trains the selected ones on all rows.

    Parameters
    ----------
    problem : Problem on the encoded columns as they are; each network reads its own columns times its own factor
    bins : boolean ndarray of shape (n_encoded,), which columns are bins
    splits : list of Split; ``refit_rows`` : indices of the rows to refit on, or None for no refit
    finish : callable (outputs) -> what is scored: probabilities of each class, or numbers in the targets' units
    score_of : callable (rows) -> callable (finished outputs) -> Score
    error_of : callable (rows) -> callable (finished outputs) -> the share of wrong classes or of variance left,
        whatever the metric
    n_threads : of all networks together; None for what the process has left
    """

    def __init__(
        self,
        problem: Problem,
        bins: np.ndarray,
        splits: list[Split],
        *,
        refit_rows: np.ndarray | None,
        finish: Callable[[np.ndarray], np.ndarray],
        score_of: Callable[[np.ndarray], Callable[[np.ndarray], Score]],
        error_of: Callable[[np.ndarray], Callable[[np.ndarray], float]],
        clock: Clock,
        n_threads: int | None,
    ) -> None:
        self.problem, self.splits, self.refit_rows = problem, splits, refit_rows
        self.finish, self.score_of, self.error_of = finish, score_of, error_of
        self.clock, self.n_threads, self.threads = clock, n_threads, n_threads or available_cores()
        self.validates = bool(len(splits[0].validation))
        self.columns = {True: np.ones(len(bins), bool), False: ~bins if not bins.all() else bins}
        self._views: dict[bool, Problem] = {}

    # Data as a network sees them.

    def _factor(self, recipe: Recipe) -> float:
        return FIRST_LAYER / math.sqrt(self.columns[recipe.bins].sum())

    def _view(self, recipe: Recipe) -> Problem:
        """The problem with the recipe's columns times its factor; without bins to leave out both are one."""
        key = recipe.bins or bool(self.columns[False].all())
        if key not in self._views:
            columns = self.columns[recipe.bins]
            X = self.problem.X if columns.all() else self.problem.X[:, columns]
            self._views[key] = self.problem._replace(X=np.ascontiguousarray(X * np.float32(self._factor(recipe))))
        return self._views[key]

    # Training.

    def _train(self, recipe: Recipe, seed: int, split: int | None, n_threads: int | None) -> Run:
        """One network; on all rows where there is no split."""
        problem = self._view(recipe)
        rows, validation = (self.refit_rows, ()) if split is None else self.splits[split]
        validates = bool(len(validation))

        def predict(network: Network, session: Session) -> np.ndarray:
            return self.finish(session.predict(validation))

        return train(
            problem._replace(loss=self._loss(recipe)),
            rows,  # type: ignore[arg-type]
            recipe,
            seed,
            predict=predict if validates else None,
            score=self.score_of(validation) if validates else None,  # type: ignore[arg-type]
            clock=self.clock,
            n_threads=n_threads,
        )

    def _loss(self, recipe: Recipe) -> Any:
        loss = self.problem.loss
        return replace(loss, label_smoothing=recipe.label_smoothing) if hasattr(loss, "label_smoothing") else loss

    def _side_by_side(self, jobs: Sequence[Job]) -> list[Trained]:
        """Train networks in as many threads as there are; a network alone has all of them."""
        for recipe, *_ in jobs:
            self._view(recipe)
        each = self.n_threads if len(jobs) == 1 else max(1, self.threads // len(jobs))

        def trained(job: Job) -> Trained:
            recipe, _, seed, split = job
            return Trained(*job, self._train(recipe, seed, split, each))

        return side_by_side(trained, jobs, self.n_threads)

    def _in_time(self, recipes: Sequence[Recipe], seeds: int, n_refits: int) -> tuple[list[Recipe], int]:
        """Shorter recipes and fewer refits, where the time is too short for all of them."""
        if math.isinf(self.clock.deadline):
            return list(recipes), n_refits
        start = monotonic()
        trial, rows = replace(recipes[0], max_epochs=1, cycles=1), self.splits[0].training
        some = rows[: 10 * trial.batch_size]
        train(self._view(trial), some, trial, 0, clock=Clock(None, None))
        second = (monotonic() - start) / self.threads * len(rows) / len(some)
        searched = sum(recipe.max_epochs for recipe in recipes) * seeds * len(self.splits) * second
        refit = max(recipe.max_epochs for recipe in recipes) * second
        left = SPARE * self.clock.left
        n_refits = min(n_refits, max(0, int((left - searched) / refit)))
        share = left / (searched + n_refits * refit)
        if share < 1:
            recipes = [replace(recipe, max_epochs=max(1, int(share * recipe.max_epochs))) for recipe in recipes]
        return list(recipes), n_refits

    def run(self, preset: Preset, recipes: Sequence[Recipe], n_members: int, seeds: np.random.RandomState) -> Outcome:
        """Train, select, train on all rows.

        Parameters
        ----------
        n_members : networks in the model, at least as many as there are splits
        seeds : RandomState from which each network's seed is drawn
        """
        n_splits, refits = len(self.splits), self.refit_rows is not None
        copies = preset.seeds if refits else max(preset.seeds, -(-n_members // n_splits))
        n_refits = max(0, n_members - n_splits * copies) if refits else 0
        if preset.blend and refits:
            n_refits = n_members - n_members // 2
        if not self.validates:
            recipes = recipes[:1]
        recipes, n_refits = self._in_time(recipes, copies, n_refits)
        trained = self._try(recipes, copies, seeds)
        candidates = self._candidates(trained, blend=preset.blend)
        score = self.score_of(self._validated()) if self.validates else None
        weights = self._weights(candidates, score, n_members // 2 if preset.blend else 0)
        chosen = [(candidate, weight) for candidate, weight in zip(candidates, weights) if weight]
        members = [member for candidate, weight in chosen for member in self._members(candidate.parts, weight)]
        best = max(chosen, key=lambda pair: pair[1])[0]
        outcome = Outcome(members, members, best.epoch, math.nan, None, [_noted(item) for item in trained])
        if score is not None:
            outcome.outputs = np.average([c.outputs for c, _ in chosen], axis=0, weights=[w for _, w in chosen])
            outcome.score = score(outcome.outputs).value
        if n_refits and self.clock.left > 0:
            again = [candidate for candidate, weight in chosen for _ in range(weight)]
            jobs = [(again[n % len(again)].shortened(), n, int(seeds.randint(2**31)), None) for n in range(n_refits)]
            self.clock.leave(sum(recipe.max_epochs for recipe, *_ in jobs))
            runs = self._side_by_side(jobs)
            whole = [item for item in runs if item.run.epochs == item.recipe.max_epochs]  # others ran out of time
            outcome.members = members + [m for item in whole for m in self._members([(item, -1)], 1)]
            outcome.history += [_noted(item) for item in runs]
        self.clock.leave(0)
        return outcome

    def _validated(self) -> np.ndarray:
        """The validation rows of all splits, one after the other."""
        return np.concatenate([split.validation for split in self.splits])

    def _try(self, recipes: Sequence[Recipe], copies: int, seeds: np.random.RandomState) -> list[Trained]:
        """Train the recipes on the splits: first those for all tables, then those for tables of little noise."""
        jobs: list[Job] = [
            (recipe, copy, int(seeds.randint(2**31)), split)
            for recipe in recipes
            for copy in range(copies)
            for split in range(len(self.splits))
        ]
        trained = self._side_by_side([job for job in jobs if math.isinf(job[0].below)])
        special = [job for job in jobs if not math.isinf(job[0].below)]
        if special and self.clock.left > 0:
            error = self.error_of(self._validated())
            least = min(error(candidate.outputs) for candidate in self._candidates(trained, blend=False))
            special = [job for job in special if least < job[0].below]
            trained += self._side_by_side(special) if special else []
        return trained

    def _candidates(self, trained: Sequence[Trained], *, blend: bool) -> list[Candidate]:
        """What can be selected: a recipe at an end of its cycles, each copy by itself where they are blended."""
        groups: dict[Any, list[Trained]] = {}
        for item in trained:
            groups.setdefault((item.recipe, item.copy if blend else 0), []).append(item)
        found = []
        for group in groups.values():
            for end in range(min(len(item.run.ends) for item in group)):
                parts = [(item, end) for item in group]
                found.append(Candidate(parts, self._together(parts)))
        return found

    def _together(self, parts: Sequence[tuple[Trained, int]]) -> Any:
        """Outputs of the validation rows of all splits, one after the other; several networks of a split averaged."""
        if not parts[0][0].run.outputs:
            return None
        return np.concatenate(
            [
                np.mean([item.run.outputs[end] for item, end in parts if item.split == split], axis=0)
                for split in range(len(self.splits))
            ]
        )

    def _weights(self, candidates: Sequence[Candidate], score: Any, additions: int) -> list[int]:
        """How often each candidate counts: the best one once, or greedily, with so many additions."""
        if score is None:
            return [int(n == len(candidates) - 1) for n in range(len(candidates))]
        outputs = [candidate.outputs for candidate in candidates]
        if additions:
            return greedy(outputs, score, additions)
        best = best_of([score(output) for output in outputs])
        return [int(n == best) for n in range(len(outputs))]

    def _members(self, parts: Sequence[tuple[Trained, int]], weight: float) -> list[Member]:
        """The networks of a candidate, which share its weight."""
        return [
            folded(
                item.run.snapshots[end],
                self.columns[item.recipe.bins],
                self._factor(item.recipe),
                activation=item.recipe.activation,
                output=self.problem.output,
                weight=weight / len(parts),
            )
            for item, end in parts
        ]


def _noted(item: Trained) -> dict[str, Any]:
    """A network's line in the history."""
    run = item.run
    return {
        "recipe": item.recipe,
        "split": item.split,
        "loss": run.losses,
        "validation_score": [score.value for score in run.scores],
        "seconds": run.seconds,
        "ends": run.ends,
    }
