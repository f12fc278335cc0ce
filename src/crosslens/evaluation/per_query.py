"""Results of every query, as the columns of a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crosslens.errors import InputError, MissingExtraError
from crosslens.evaluation.classification import ClassificationReport
from crosslens.evaluation.pairs import PairReport
from crosslens.evaluation.retrieval import RetrievalReport


def query_columns(report: RetrievalReport | ClassificationReport | PairReport) -> dict[str, Sequence[Any]]:
    """Columns of equal length.

    Retrieval: `direction`, `query` (a text, or a picture's id), `rank` of the first right answer,
    `positives`, every figure of the query, `found` (the first answers, best first) and `wanted` (the right
    ones). Queries without a right answer are not there.
    Classes: `image`, `class`, `predicted`, `rank` of the true class, `confidence` of the one given.
    Pairs: `image`, `text`, `label`, `cosine`, `probability`.
    """
    if isinstance(report, RetrievalReport):
        return _of_retrieval(report)
    if isinstance(report, ClassificationReport):
        found = report.classification
        return {
            "image": report.image_ids,
            "class": [found.classes[row] for row in found.labels],
            "predicted": [found.classes[row] for row in found.predicted],
            "rank": found.ranks.tolist(),
            "confidence": found.confidences.tolist(),
        }
    pairs = report.pairs
    return {
        "image": [pairs.image_ids[row] for row in pairs.text_to_image],
        "text": pairs.texts,
        "label": [] if pairs.labels is None else pairs.labels.tolist(),
        "cosine": report.cosines.tolist(),
        "probability": report.probabilities.tolist(),
    }


def write_queries(
    report: RetrievalReport | ClassificationReport | PairReport, path: str | os.PathLike[str]
) -> None:
    """Write `query_columns` to a Parquet file, whole. Raises InputError, MissingExtraError, OSError."""
    target = Path(path)
    check_parquet(target)
    import pyarrow
    import pyarrow.parquet

    draft = target.with_name(f"{target.name}.draft")
    with draft.open("wb") as file:
        pyarrow.parquet.write_table(pyarrow.table(_clean(query_columns(report))), file)
    draft.replace(target)


def check_parquet(path: Path) -> None:
    """Raise InputError for another ending, MissingExtraError without pyarrow: before hours of work."""
    if path.suffix.lower() != ".parquet":
        raise InputError(f"{path}: results are written as Parquet", "Name a file that ends in .parquet")
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error


def _of_retrieval(report: RetrievalReport) -> dict[str, Sequence[Any]]:
    pairs, right = report.pairs, report.pairs.relevance
    columns: dict[str, list[Any]] = {"direction": [], "query": []}
    sides = (
        ("text_to_image", pairs.texts, pairs.image_ids, right),
        ("image_to_text", pairs.image_ids, pairs.texts, right.turned()),
    )
    for name, queries, answers, relevance in sides:
        ranked = report.retrieval.directions[name]
        wanted: dict[int, list[str]] = {}
        for query, answer in zip(relevance.queries.tolist(), relevance.answers.tolist(), strict=True):
            wanted.setdefault(query, []).append(answers[answer])
        columns["direction"] += [name] * len(ranked.rows)
        columns["query"] += [queries[row] for row in ranked.rows]
        for key, values in ranked.columns.items():
            whole = key in ("rank", "positives")
            columns.setdefault(key, []).extend((values.astype(int) if whole else values).tolist())
        columns.setdefault("found", []).extend([answers[row] for row in line] for line in ranked.top)
        columns.setdefault("wanted", []).extend(wanted[row] for row in ranked.rows.tolist())
    return dict(columns)


def _clean(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Paths may hold bytes that are no text; Parquet holds only UTF-8."""

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(part) for part in value]
        return value.encode(errors="replace").decode() if isinstance(value, str) else value

    return {name: [text(value) for value in values] for name, values in columns.items()}
