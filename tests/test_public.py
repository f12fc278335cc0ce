"""The surface that users rely on, and the one direction in which modules import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import crosslens

SOURCE = Path(crosslens.__file__).parent

# Earlier may be imported by later, never the other way round. Modules of one rank do not import each other.
RANKS = (
    {"types", "errors", "places", "checksum", "models.spec", "models.captions", "models.unpictured"},
    {"tally", "arguments", "changes", "clean", "pending", "conditions", "models.entry", "metadata"},
    {"search.fusion", "store.tags", "store.filesystem", "teach.head"},
    {
        "read",
        "inputs",
        "store.paths",
        "store.records",
        "models.bundle",
        "models.table",
        "models.hub",
        "models.quantisation",
    },
    {"store.batch", "store.connection", "preprocess", "tokenize", "facts", "search.values", "search.backend"},
    {"decode"},
    {
        "models.catalogue",
        "models.weights",
        "towers.base",
        "towers.cache",
        "towers.network",
        "towers.onnxgraph",
    },
    {"towers.fake", "towers.graph", "towers.torchops", "certificate", "encode"},
    {"towers.openvino"},
    {"towers.torch", "likeness"},
    {"towers.opening"},
    {
        "models.convert.tensors",
        "models.convert.result",
        "models.convert.sentencepiece",
        "models.convert.write",
    },
    {"models.convert.source", "models.convert.layout", "models.convert.check"},
    {"models.convert.pictures", "models.convert.tokenizers"},
    {"models.convert.hugging", "models.convert.immich", "models.convert.openclip"},
    {"models.convert.text_tower"},
    {"models.convert.convert"},
    {"models.files"},
    {"evaluate", "probability", "texts", "zeroshot", "tables", "store.schema"},
    {"matcher"},
    {"semantic", "certify", "store.lock", "store.snapshot", "matching.intervals"},
    {"matching.ranks", "matching.rows"},
    {"matching.datasets", "matching.classes"},
    {"matching.reading", "matching.embedding"},
    {"matching.retrieval", "matching.classification"},
    {"matching.pairs"},
    {"matching.perquery", "matching.summary"},
    {"matching.measuring"},
    {"matching.comparing"},
    {"matching.plotting"},
    {"matching.html", "matching"},
    {"train.settings"},
    {
        "train.recipe",
        "train.labels",
        "train.checkpoint",
        "train.frozen",
        "train.pairs",
        "train.int8",
        "train.precision",
        "train.vision",
        "train.ranks",
    },
    {
        "train.losses",
        "train.towers",
        "train.reading",
        "train.outputs",
        "train.fold",
        "train.lora",
        "train.pretrained",
    },
    {"train.efficientnet", "train.adapted"},
    {"train.start"},
    {"train.texts"},
    {"train.validation", "train.export", "train.batches", "train.optimizer", "train.headdata"},
    {"train.distill"},
    {"train.objective"},
    {"train.trainer", "train.card"},
    {"train.log", "train.certificate", "train.headtrainer"},
    {"train.whole"},
    {"train.heads", "train.adapters"},
    {"store.catalog"},
    {"store.targets", "automm.hyperparameters", "automm.candidates", "automm.saving"},
    {"automm.embedding", "automm.fitting"},
    {"automm.predicting"},
    {"automm.predictor"},
    {"automm"},
    {
        "store.concepts",
        "store.scan",
        "store.vectors",
        "search.cells",
        "search.pairs",
        "search.exact",
        "search.query",
    },
    {
        "search.language",
        "search.relevance",
        "search.reach",
        "search.tuning",
        "store.filters",
        "store.words",
        "store.annfiles",
    },
    {"search.ann", "store.details", "teach.filtering"},
    {"searching", "relevance"},
    {"textindexing", "adding", "remembered", "stats", "querying", "derived", "vectorfiles", "view"},
    {"indexing", "quantise", "bench", "grouping"},
    {"library", "verify", "comparing", "events"},
    {"upkeep", "transfer", "duplicates", "tagging", "migrating", "watching", "teach.fitting"},
    {"plans", "teach.concepts", ""},
    {"doctor"},
    {"cli.progress", "cli.hitview"},
    {"cli.render", "cli.fetching"},
    {"cli.evaluateview", "cli.modelview", "cli.sampling", "cli.upkeepview", "cli.migrationview"},
    {"cli.models"},
    {"cli.common"},
    {
        "cli.compare",
        "cli.evaluating",
        "cli.call",
        "cli.upkeep",
        "cli.tidy",
        "cli.tagging",
        "cli.teaching",
        "cli.searching",
        "cli.migrating",
    },
    {"cli.trainoptions"},
    {"cli.comparing", "cli.watching", "cli.headtraining", "cli.adaptertraining"},
    {"cli.training"},
    {"serve.problems", "serve.config", "serve.metrics", "serve.schemas", "serve.answers"},
    {
        "serve.access",
        "serve.conceptanswers",
        "serve.modelanswers",
        "serve.archives",
        "serve.batching",
        "serve.fetch",
        "serve.uploads",
    },
    {"serve.engine", "serve.pictures"},
    {"serve.book", "serve.explaining", "serve.plane"},
    {"serve.shelf", "serve.hits", "serve.jobs", "serve.thumbnails", "serve.completion"},
    {"serve.intake"},
    {"serve.resuming"},
    {"serve.service"},
    {"serve.forms", "serve.asking"},
    {"serve.guard"},
    {"serve.openapi"},
    {
        "serve.routes.models",
        "serve.routes.system",
        "serve.routes.search",
        "serve.routes.concepts",
        "serve.routes.libraries",
        "serve.routes.items",
        "serve.routes.jobs",
        "serve.routes.page",
    },
    {"serve.app"},
    {"cli.serving"},
    {"cli.parse"},
    {"cli"},
    {"__main__"},
)
FOLDERS = ("models", "models.convert", "towers", "store", "search", "teach", "train", "serve", "serve.routes")
# What a stage must not know, whatever its rank.
FORBIDDEN = {
    "store": ("matcher", "towers", "models", "encode", "decode"),
    "search": ("matcher", "towers", "models", "encode", "decode", "store"),
    "encode": ("decode", "read", "store"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").removesuffix(".")


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, wherever in it."""
    modules = {module_name(p) for p in SOURCE.rglob("*.py")}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "crosslens":
            base = (node.module or "").removeprefix("crosslens").removeprefix(".")
            for alias in node.names:
                name = f"{base}.{alias.name}".removeprefix(".")
                found.add(name if name in modules else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("crosslens").removeprefix(".") for a in node.names
                      if a.name.split(".")[0] == "crosslens"}  # fmt: skip
    return found


def test_the_exported_names_are_these_and_no_others() -> None:
    assert set(crosslens.__all__) == {
        "BundleError", "CrosslensError", "CrosslensWarning", "Failure", "Hit", "ImageError", "IndexReport",
        "InputError", "Label", "Library", "LibraryError", "LibraryStats", "Limits", "Matcher", "ModelError",
        "Progress", "UnknownModelError", "semantic_search", "softmax_confidence",
    }  # fmt: skip
    assert all(getattr(crosslens, name).__doc__ for name in crosslens.__all__)


def test_modules_import_only_what_lies_before_them() -> None:
    rank = {name: number for number, names in enumerate(RANKS) for name in names}
    for path in SOURCE.rglob("*.py"):
        name = module_name(path)
        if path.name == "__init__.py" and name in FOLDERS:
            assert not imported(path), f"{name} is a folder's docstring and imports nothing"
            continue
        assert name in rank, f"{name} has no place in the order: give it one"
        for other in imported(path):
            assert rank[other] < rank[name], f"{name} imports {other}, which does not lie before it"


@pytest.mark.parametrize("stage", FORBIDDEN)
def test_a_stage_does_not_know_what_it_must_not(stage: str) -> None:
    for path in SOURCE.rglob("*.py"):
        if module_name(path).split(".")[0] == stage:
            known = {name for name in imported(path) if name.split(".")[0] in FORBIDDEN[stage]}
            assert not known - {"towers.base"}, f"{module_name(path)} knows {known}"


def test_the_library_never_prints() -> None:
    for path in SOURCE.rglob("*.py"):
        calls = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        if "cli" not in path.parts:
            assert not calls & {"print", "exit", "input"}, path


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > 350} == {}


def test_importing_crosslens_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pandas", "pyarrow", "openvino", "rich", "filelock")
    probe = f"import sys, crosslens; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_no_file_names_an_index_host_or_a_path_of_one_machine() -> None:
    root = Path(__file__).parents[1]
    words = (
        "py" + "pi.org",
        "python" + "hosted",
        "registry." + "npmjs",
        "/ro" + "ot/",
        "/wo" + "rk/",
        "file:///" + "opt",
    )
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    files = [root / name for name in listed.stdout.split("\0") if name] or list(SOURCE.rglob("*.py"))
    binary = (".onnx", ".npz", ".png", ".safetensors", ".sqlite3")
    texts = [path for path in files if path.suffix not in binary and path.is_file()]
    assert texts
    for path in texts:
        content = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in content], path
