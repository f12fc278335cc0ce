"""The model card of a trained model: README.md in its bundle."""

from __future__ import annotations

from pathlib import Path

from crosslens.train.recipe import Recipe
from crosslens.train.validation import Validation


def write_card(
    folder: Path,
    recipe: Recipe,
    step: int,
    validation: Validation,
    pictures: tuple[int, int],
    *,
    made: str | None = None,
    before: Validation | None = None,
) -> None:
    """Write it.

    pictures: trained on, held out. made: how, one line; else what the recipe says of the towers. before: the
    figures of the model that the training started from.
    """
    image, text = recipe.image, recipe.text
    teacher = f" Teacher: {recipe.distill.teacher}." if recipe.distill.teacher else ""
    made = made or f"Image tower: {image.kind}. Text tower: {text.kind}. Loss: {recipe.loss.kind}.{teacher}"
    lines = [
        f"# {recipe.name}",
        "",
        f"A two-tower model for pictures and texts, {recipe.dimension} numbers to a vector.",
        "Trained with crosslens.",
        "",
        "| held-out pictures | recall@1 | recall@5 | recall@10 |",
        "|---|---|---|---|",
        *([] if before is None else [_row("before training", before)]),
        _row(f"{pictures[1]:,}, text → image", validation),
        "",
        "These pictures also chose the weights, so that the figures are a little too good.",
        "Measure on pictures of your own: `crosslens evaluate retrieval DATA --model FOLDER`.",
        "",
        f"Trained on {pictures[0]:,} pictures; weights of step {step} of {recipe.steps}.",
        made,
        "",
        f"Licence: {recipe.license}",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _row(name: str, figures: Validation) -> str:
    return f"| {name} | {figures.recall_1:.1%} | {figures.recall_5:.1%} | {figures.recall_10:.1%} |"
