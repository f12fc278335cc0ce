"""Measures one model on one set in a process of its own, so that speed and memory are its alone.

The parent gives a job as JSON on standard input; the child answers with lines of JSON: how far it is, then
what it found or why it could not.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from crosslens import app_folders
from crosslens.errors import CrosslensError, ModelError
from crosslens.evaluation.caption_sets import load_pairs
from crosslens.evaluation.embedding import OnProgress
from crosslens.evaluation.retrieval import RetrievalReport, evaluate_retrieval
from crosslens.evaluation.summary import retrieval_summary
from crosslens.matching.matcher import Matcher
from crosslens.models.catalogue import find_bundle
from crosslens.towers.fake_model import FakeModel
from crosslens.towers.openvino_runtime import Precision
from crosslens.types import Progress

_CHILD = "from crosslens.evaluation.measure_process import serve; serve()"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured. data, options: arguments of `load_pairs`. worst: how many failures are told."""

    model: str
    precision: str
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    worst: int = 24


@dataclass(frozen=True, slots=True)
class Miss:
    """A text whose picture was ranked far behind. wanted, found: ids of pictures, found best first."""

    text: str
    wanted: str
    rank: int
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model did. summary: see `retrieval_summary`. runtime: with precision and decoding, as it ran.

    size: bytes on disk of what it needs. memory: bytes, the most that its process held, the set and Python
    with it.
    """

    model: str
    precision: str
    runtime: str
    dimension: int
    summary: dict[str, Any]
    size: int
    memory: int
    worst: tuple[Miss, ...]

    @property
    def name(self) -> str:
        """Model and precision, as it was asked for."""
        return self.model if self.precision == "auto" else f"{self.model}:{self.precision}"

    def figure(self, name: str, direction: str = "text_to_image") -> dict[str, float]:
        """value, low and high of a figure such as "recall@10"."""
        return cast("dict[str, float]", self.summary["directions"][direction]["figures"][name])


def measure(job: Job, on_progress: OnProgress) -> Measured:
    """Run a job in a process of its own. Raises what it raised: ModelError, InputError and others."""
    command = [sys.executable, "-W", "ignore", "-c", _CHILD]
    # In a session of its own, so that Ctrl-C is the parent's alone, which ends it.
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **streams, start_new_session=True) as process:  # noqa: S603
        try:
            assert process.stdin is not None  # noqa: S101 (asked for)
            assert process.stdout is not None  # noqa: S101
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asdict(job)))
                process.stdin.close()
            found = _answer(process.stdout, on_progress)
        finally:
            process.kill()
    if found is None:
        remedy = "It may have run out of memory; try it alone: crosslens evaluate retrieval"
        raise ModelError(f"the process that measured {job.model} ended before it was done", remedy)
    found["worst"] = tuple(Miss(**{**miss, "found": tuple(miss["found"])}) for miss in found["worst"])
    return Measured(**found)


def _answer(lines: IO[str], on_progress: OnProgress) -> dict[str, Any] | None:
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue  # what some library printed
        if "progress" in told:
            on_progress(Progress(**told["progress"]))
        elif "error" in told:
            raise CrosslensError(*told["error"])
        elif "result" in told:
            return cast("dict[str, Any]", told["result"])
    return None


def serve() -> None:
    """Do the job on standard input, and answer on standard output."""
    job = Job(**json.loads(sys.stdin.read()))

    def tell(**what: Any) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    try:
        tell(result=asdict(_measure(job, lambda progress: tell(progress=asdict(progress)))))
    except CrosslensError as error:
        tell(error=[getattr(error, "problem", str(error)), getattr(error, "remedy", "")])


def _measure(job: Job, on_progress: OnProgress) -> Measured:
    pairs = load_pairs(job.data, **job.options)
    _forget_peak()
    matcher = Matcher(job.model, precision=cast(Precision, job.precision), device=job.device)
    report = evaluate_retrieval(matcher, pairs, on_progress=_now_and_then(on_progress))
    return Measured(
        job.model,
        job.precision,
        matcher.provenance,
        matcher.dimension,
        retrieval_summary(report),
        size_on_disk(job.model, job.precision),
        _most_memory(),
        tuple(worst_of(report, job.worst)),
    )


def worst_of(report: RetrievalReport, count: int) -> Iterator[Miss]:
    """The texts whose pictures were ranked last, one to a picture."""
    ranked, pairs = report.retrieval.text_to_image, report.pairs
    right = pairs.relevance
    met: set[int] = set()
    for place in np.argsort(-ranked.columns["rank"], kind="stable").tolist():
        text = int(ranked.rows[place])
        wanted = int(right.answers[np.searchsorted(right.queries, text)])
        if len(met) == count or ranked.columns["rank"][place] == 1:
            return
        if wanted not in met:
            met.add(wanted)
            found = tuple(pairs.image_ids[row] for row in ranked.top[place, :_SHOWN])
            rank = int(ranked.columns["rank"][place])
            yield Miss(pairs.texts[text], pairs.image_ids[wanted], rank, found)


def size_on_disk(model: str, precision: str) -> int:
    """Bytes of a model's files, with those of its int8 image tower where that is asked for."""
    if model == FakeModel.spec.name:
        return 0
    bundle = find_bundle(model)
    folders = [bundle.folder]
    if precision == "int8":
        folders.append(app_folders.quantised(bundle.spec.identity).parent)
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def _now_and_then(on_progress: OnProgress) -> OnProgress:
    """Told of every sixteenth picture: each would cost a line between two processes."""
    return lambda progress: on_progress(progress) if progress.done % 16 == 0 else None


def _forget_peak() -> None:
    """Let the most that was held until now, while the set was read, not count. On Linux alone."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _most_memory() -> int:
    """Bytes, the most that this process held. What Linux says of it alone; elsewhere what getrusage does."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
