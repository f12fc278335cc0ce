"""The columns and the model of a predictor, and how columns are embedded."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

from crosslens.arguments import choice
from crosslens.automm.hyperparameters import open_model, read_hyperparameters
from crosslens.errors import CrosslensWarning, InputError, MissingExtraError, warn
from crosslens.evaluation.metrics import Labels, Table, load_extra
from crosslens.matching.match_probability import Probability
from crosslens.texts.validation import modality_of
from crosslens.types import Float32, Modality

Side = Literal["query", "response"]
# A list, a dict of columns, or a pandas DataFrame or Series.
Data: TypeAlias = Any
# Column → what each id in it stands for: a dict or a pandas Series.
IdMappings: TypeAlias = Mapping[str, Any]

# A dict, "key=value key=value", or a list of such.
Hyperparameters: TypeAlias = Mapping[str, Any] | str | Sequence[str]

ZERO_SHOT = "zero_shot_image_classification"
# What both sides hold; None: one side pictures, the other texts, and each list is asked.
PROBLEM_TYPES: dict[str, Modality | None] = {
    "image_text_similarity": None,
    "text_similarity": "text",
    "image_similarity": "image",
    ZERO_SHOT: None,
}
# Arguments of AutoMM's constructor that steer logging and training; nothing here depends on them.
WITHOUT_EFFECT = frozenset(
    {"verbosity", "num_classes", "warn_if_exist", "enable_progress_bar", "validation_metric"}
)


def refuse_unknown(given: Collection[str], known: Collection[str]) -> None:
    """Raise TypeError for arguments that AutoMM has not either."""
    unknown = set(given) - set(known)
    if unknown:
        raise TypeError(f"unexpected arguments {sorted(unknown)}; docs/automm.md lists what is taken")


class EmbeddingPredictor:
    """The part of `MultiModalPredictor` that needs no labels: settings, model and embeddings."""

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is one that users know from elsewhere)
        self,
        label: str | None = None,
        problem_type: str | None = None,
        query: str | Sequence[str] | None = None,
        response: str | Sequence[str] | None = None,
        match_label: Hashable | None = None,
        presets: str | None = None,
        eval_metric: str | None = None,
        hyperparameters: Hyperparameters | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        classes: Sequence[Hashable] | None = None,
        probability: Probability = "calibrated",
        **without_effect: Any,
    ) -> None:
        refuse_unknown(without_effect, WITHOUT_EFFECT)
        if problem_type not in PROBLEM_TYPES:
            remedy = f"Wanted one of {', '.join(PROBLEM_TYPES)}: crosslens matches"
            raise InputError(f"problem_type is {problem_type!r}", remedy)
        self.label = label
        self.problem_type: str = problem_type
        self.query = _one_column("query", query)
        self.response = _one_column("response", response)
        self.eval_metric = eval_metric
        self.probability = probability
        self._labels = Labels.of(classes, match_label)
        self.path = path
        self._hyperparameters = read_hyperparameters(hyperparameters)
        self._is_chosen = bool(presets or self._hyperparameters.checkpoint)
        self.matcher = open_model(presets, self._hyperparameters.checkpoint)

    @property
    def class_labels(self) -> list[Hashable]:
        """Both labels, in the order of `predict_proba`'s columns."""
        return list(self._labels.both)

    def embed(self, data: Data, modality: Modality | None = None) -> Float32:
        """Embed a list: float32 (n, d), unit norm. Makes a predictor the `matcher` of `semantic_search`."""
        items = Table.of(data, "data").column("data")
        return self.matcher.embed(items, modality or self._modality(items, "data"))

    def extract_embedding(
        self,
        data: Data,
        id_mappings: IdMappings | None = None,
        return_masks: bool = False,
        as_tensor: bool = False,
        as_pandas: bool = False,
        realtime: bool | None = False,  # noqa: ARG002 (has no effect: every call is as quick as it can be)
        signature: Side | None = None,
        *,
        modality: Modality | None = None,
    ) -> Any:
        """Embed a list, or one column of a dict or DataFrame: float32 (n, d), unit norm, in the order given.

        id_mappings: {column: {id: content}} for data that holds ids; a list's column is `signature`'s.
        as_tensor: a torch tensor; without torch an array, and a warning. as_pandas: a DataFrame, index kept.
        signature: which of the two columns; without one the query's if the data has it, else the response's.
        modality: what the list holds; None decides for the whole list (`texts.modality_of`).
        Raises InputError, which names the row, or MissingExtraError.
        """
        if return_masks:
            problem = "return_masks asks which rows had no input, and here a row without one is an error"
            raise InputError(problem, "Leave it out")
        if as_tensor and as_pandas:
            raise InputError("as_tensor and as_pandas exclude each other", "Choose one")
        choice("signature", "query" if signature is None else signature, get_args(Side))
        name = {"query": self.query, "response": self.response, None: None}[signature]
        table = Table.of(data, name or signature or "data")
        column = name or self._which_column(table)
        if id_mappings and column not in id_mappings:
            raise InputError(f"id_mappings has {list(id_mappings)}, not {column!r}", "Say whose: signature=…")
        items = table.column(column, id_mappings)
        vectors = self.matcher.embed(items, modality or self._modality(items, column))
        return _tensor(vectors) if as_tensor else table.wrap(vectors, as_pandas)

    def _both_sides(self, names: tuple[str, str], sides: Sequence[list[Any]]) -> tuple[list[Float32], bool]:
        """The vectors of both sides, and whether they hold the same: two of texts, or two of pictures."""
        kinds = self._kinds(names, sides)
        vectors = [self.matcher.embed(*side) for side in zip(sides, kinds, strict=True)]
        return vectors, kinds[0] == kinds[1]

    def _kinds(self, names: tuple[str, str], sides: Sequence[list[Any]]) -> tuple[Modality, Modality]:
        """What both sides hold. Raises InputError where it is not what the problem type says."""
        one, other = (self._modality(items, name) for name, items in zip(names, sides, strict=True))
        if one == other and PROBLEM_TYPES[self.problem_type] is None:
            problem = f"{names[0]!r} and {names[1]!r} both hold {one}s, not pictures and texts"
            raise InputError(problem, "Check the paths, or change problem_type")
        return one, other

    def _modality(self, items: Sequence[Any], name: str) -> Modality:
        """What a column holds. Raises InputError for names of pictures that are not there."""
        fixed = PROBLEM_TYPES[self.problem_type]
        return fixed or modality_of(items, repr(name))

    def _which_column(self, table: Table, first: Side = "query") -> str:
        """The column of a side, of the other where the table has it not, or the only one there is."""
        sides = (self.query, self.response) if first == "query" else (self.response, self.query)
        named = [column for column in sides if column and column in table.columns]
        return named[0] if named else only_column(table)


def only_column(table: Table) -> str:
    """The name of a table's only column. Raises InputError where it has several."""
    if len(table.columns) != 1:
        raise InputError(f"the data has the columns {list(table.columns)}", "Give the one to embed")
    return next(iter(table.columns))


def _one_column(side: Side, columns: str | Sequence[str] | None) -> str | None:
    names = [columns] if isinstance(columns, str) else list(columns or [])
    if len(names) > 1:
        raise InputError(f"{side} names {len(names)} columns", "Name one: a vector is of one picture or text")
    return names[0] if names else None


def _tensor(vectors: Float32) -> Any:
    try:
        return load_extra("torch", "torch", "torch").from_numpy(vectors)
    except MissingExtraError as error:
        _say_once(f"as_tensor=True gives arrays: {error}")
        return vectors


@cache
def _say_once(message: str) -> None:
    warn(CrosslensWarning(message))
