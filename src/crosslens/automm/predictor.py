"""MultiModalPredictor: AutoMM's class over crosslens' parts."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from crosslens.automm.embedding import Data, Hyperparameters, IdMappings, refuse_unknown
from crosslens.automm.fitting import Labelled, Plan, column_kinds, fit_pairs, labelled, require_torch
from crosslens.automm.hyperparameters import open_model, read_hyperparameters
from crosslens.automm.predicting import PairPredictor
from crosslens.automm.saving import load_predictor, place_for, save_predictor
from crosslens.errors import CrosslensWarning, InputError, warn
from crosslens.evaluation.metrics import Table
from crosslens.matching.matcher import Matcher
from crosslens.texts.validation import modality_of
from crosslens.types import Modality

# Arguments of AutoMM's fit: without effect, and without effect on what is trained.
_WITHOUT_EFFECT = frozenset({"standalone", "clean_ckpts"})
# Those that would train another way, which is said.
_NOT_HERE = ("hyperparameter_tune_kwargs", "predictions", "labels", "predictors")


class MultiModalPredictor(PairPredictor):
    """Embeds, matches, evaluates and trains on pairs of pictures and texts, under AutoMM's names.

    label: column of relevance or of match labels, for `fit` and `evaluate`.
    problem_type: one of `embedding.PROBLEM_TYPES`.
    query, response: the two columns of a pair. match_label: the label that means a match; 1 if not given.
    classes: both labels in the order of `predict_proba`'s columns; needed for labels but 0 and 1.
    presets, hyperparameters={"model.clip.checkpoint_name": …}: the model, by name or bundle folder; other
    hyperparameters are for `fit`. path: where `fit` saves, if it is not told.
    eval_metric: what `evaluate` reports when it is not told. probability: see `predict_proba`.
    Raises InputError, UnknownModelError (with the names that are known) or BundleError.
    """

    _summary: dict[str, Any] | None = None
    _remove_model: Callable[[], object] | None = None

    def fit(  # noqa: PLR0913, PLR0917 (AutoMM's order)
        self,
        train_data: Data,
        presets: str | None = None,
        tuning_data: Data | None = None,
        max_num_tuning_data: int | None = None,
        id_mappings: IdMappings | None = None,
        time_limit: float | None = None,
        save_path: str | os.PathLike[str] | None = None,
        hyperparameters: Hyperparameters | None = None,
        column_types: Mapping[str, str] | None = None,
        holdout_frac: float | None = None,
        teacher_predictor: Any = None,
        seed: int | None = 0,
        *,
        device: str = "cpu",
        on_step: Callable[[str], None] | None = None,
        **others: Any,
    ) -> Self:
        """Train heads over the model on pairs of pictures and texts; from then on this predictor uses them.

        train_data: a dict or DataFrame with the columns `query` and `response`. A column `label` says which
        rows match; without one all do. tuning_data: the same, held out; what the best step is chosen by, and,
        where it has rows of both labels, what the match probability is fitted to. None: `holdout_frac` of the
        distinct pictures of train_data (a fifth, at most 500). presets: the model to start from, if none was
        chosen yet. time_limit: seconds after which no step is taken. save_path: `save` there in the end.
        column_types: {column: "image_path" or "text"}, where it should not be asked of the data.
        device: "cpu" or "cuda". on_step: called with lines of progress. Pictures that cannot be read are left
        out, with a warning. Returns the predictor. Needs the extra `train`.
        Raises InputError, MissingExtraError, UnknownModelError, ModelError; then the predictor is as it was.
        """
        refuse_unknown(others, _WITHOUT_EFFECT | set(_NOT_HERE))
        asked = {"max_num_tuning_data": max_num_tuning_data, "teacher_predictor": teacher_predictor, **others}
        _say_without_effect({name: value for name, value in asked.items() if name not in _WITHOUT_EFFECT})
        columns = self._columns_to_fit()
        given = read_hyperparameters(hyperparameters)
        plan = Plan(
            given.over(self._hyperparameters),
            holdout=holdout_frac,
            time_limit=time_limit,
            seed=0 if seed is None else seed,
            device=device,
            on_step=on_step or (lambda _line: None),
        )
        plan.check()
        save_path = save_path or self.path
        place = None if save_path is None else place_for(save_path)
        require_torch()
        kinds = column_kinds(column_types, columns)
        train = self._labelled(train_data, "train_data", id_mappings, kinds)
        tuning = None
        if tuning_data is not None:
            tuning = self._labelled(tuning_data, "tuning_data", id_mappings, kinds)
        self._train(self._start(presets, given.checkpoint), train, tuning, plan)
        if place is not None:
            self._save(place, standalone=True)
        return self

    def fit_summary(self, verbosity: int = 0, show_plot: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """What `fit` found: held-out text → image recall before and after, in [0, 1], pictures and seconds.

        Raises InputError where nothing was fitted.
        """
        if self._summary is None:
            raise InputError("this predictor was not fitted", "Call fit first")
        return dict(self._summary)

    def save(self, path: str | os.PathLike[str], standalone: bool = True) -> None:
        """Write the predictor into a folder, whole or not at all; a predictor that is there is replaced.

        standalone: with a copy of its model; without, a model that has a name here is kept by name.
        Raises InputError for a folder that is something else, and where it cannot be written.
        """
        self._save(place_for(path), standalone=standalone)

    @classmethod
    def load(cls, path: str | os.PathLike[str], resume: bool = False, verbosity: int = 3) -> Self:  # noqa: ARG003
        """A predictor that `save` wrote; no code of the folder's runs, and torch is not needed.

        Raises InputError where there is none, BundleError for one that is damaged, UnknownModelError.
        """
        _say_without_effect({"resume": resume or None})
        saved = load_predictor(path)
        predictor = cls(presets=saved.model, **saved.settings)
        predictor._summary = saved.summary
        if saved.match is not None:
            predictor.matcher.use_match(saved.match)
        return predictor

    def _columns_to_fit(self) -> tuple[str, str]:
        """Both columns. Raises InputError for a problem that is not trained for."""
        if self.problem_type != "image_text_similarity":
            raise InputError(
                f"fit trains on pictures with texts, not for {self.problem_type}",
                'Fit and save one of problem_type="image_text_similarity"; its model, FOLDER/model, serves '
                'here by hyperparameters={"model.checkpoint_name": …}',
            )
        if self.query is None or self.response is None:
            raise InputError(
                "pairs need both columns named", 'MultiModalPredictor(query="…", response="…", …)'
            )
        return self.query, self.response

    def _labelled(
        self, data: Data, name: str, id_mappings: IdMappings | None, kinds: Mapping[str, Modality]
    ) -> Labelled:
        """A table of pairs as training takes it. name: for errors."""
        if isinstance(data, str | os.PathLike):
            raise InputError(f"{name} is {os.fspath(data)!r}", f"Read the table: {name}=pandas.read_csv(…)")
        table, columns = Table.of(data, name), self._columns_to_fit()
        sides = {column: table.column(column, id_mappings) for column in columns}
        found = {
            kinds.get(column) or modality_of(items, repr(column)): items for column, items in sides.items()
        }
        if len(found) < 2:
            problem = f"{columns[0]!r} and {columns[1]!r} of {name} both hold {next(iter(found))}s"
            raise InputError(problem, "Check the paths: one column holds pictures, the other texts")
        label = self.label or ("label" if "label" in table.columns else None)
        labels = None if label is None else self._labels.matches(table.column(label))
        return labelled(found["image"], found["text"], labels, name)

    def _start(self, presets: str | None, checkpoint: str | None) -> Matcher:
        """The model that is trained from: one named now, or the predictor's."""
        if checkpoint is None and (presets is None or self._is_chosen or self._summary is not None):
            _say_without_effect({"presets": presets})
            return self.matcher
        return open_model(presets, checkpoint)

    def _train(self, start: Matcher, train: Labelled, tuning: Labelled | None, plan: Plan) -> None:
        """Take over what training made, in a folder that goes when the predictor does."""
        folder = Path(tempfile.mkdtemp(prefix="crosslens-fit-"))
        try:
            fitted = fit_pairs(start, train, tuning, folder, plan)
            matcher = Matcher(fitted.bundle)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if fitted.match is not None:
            matcher.use_match(fitted.match)
        self.matcher, self._summary = matcher, fitted.summary
        if self._remove_model is not None:
            self._remove_model()
        self._remove_model = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def _save(self, place: Path, *, standalone: bool) -> None:
        facts = {
            "problem_type": self.problem_type,
            "label": self.label,
            "query": self.query,
            "response": self.response,
            "match_label": self._labels.match,
            "classes": list(self._labels.both),
            "eval_metric": list(self.eval_metric)
            if isinstance(self.eval_metric, tuple)
            else self.eval_metric,
            "probability": self.probability,
            "summary": self._summary,
        }
        save_predictor(place, facts, self.matcher, standalone=standalone)


def _say_without_effect(given: Mapping[str, Any]) -> None:
    """Warn of arguments that were given, and are not heeded here."""
    named = sorted(name for name, value in given.items() if value is not None)
    if named:
        message = f"arguments without effect here: {', '.join(named)}"
        warn(CrosslensWarning(message))
