"""The log of a run: log.csv, a row for each step, and curves.png."""

from __future__ import annotations

import csv
from pathlib import Path

from crosslens.train.trainer import Report

_COLUMNS = ("step", "loss", "parts", "pairs_per_second", "recall_1", "recall_5", "recall_10")


class Log:
    """log.csv of a run folder. step: what the run goes on from; later rows, of a run that was killed, go."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path, self._png = folder / "log.csv", folder / "curves.png"
        rows = [row for row in read_log(folder) if int(row["step"]) <= step]
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, report: Report) -> None:
        """One step."""
        found = report.validation
        recalls = ("", "", "") if found is None else (found.recall_1, found.recall_5, found.recall_10)
        parts = " ".join(f"{name}={value:.5f}" for name, value in report.parts.items())
        row = (report.step, f"{report.loss:.6f}", parts, f"{report.rate:.1f}", *recalls)
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow(row)

    def draw(self) -> None:
        """Loss and validation recall by step, where matplotlib is installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        rows = read_log(self._path.parent)
        figure = Figure(figsize=(8, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([int(r["step"]) for r in rows], [float(r["loss"]) for r in rows], linewidth=0.8)
        left.set(xlabel="step", ylabel="loss (nats)")
        measured = [r for r in rows if r["recall_10"]]
        for k in (1, 5, 10):
            steps, values = [int(r["step"]) for r in measured], [float(r[f"recall_{k}"]) for r in measured]
            right.plot(steps, values, marker=".", label=f"recall@{k}")
        right.set(xlabel="step", ylabel="held-out text → image")
        if measured:
            right.legend()
        figure.savefig(self._png, dpi=120)


def read_log(folder: Path) -> list[dict[str, str]]:
    """The rows of log.csv, oldest first; none where there is none."""
    path = folder / "log.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["recall_10"] is not None]
