"""The surface that users rely on, and the one direction in which modules import."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import crosslens
from draw_tree import GROUND, PACKAGES

SOURCE = Path(crosslens.__file__).parent

# What a stage must not know, whatever its rank.
FORBIDDEN = {
    "store": ("matching", "towers", "models", "encode", "images"),
    "search": ("matching", "towers", "models", "encode", "images", "store"),
    "encode": ("images", "store"),
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


def test_packages_import_only_what_lies_before_them() -> None:
    rank = {name: number for number, name in enumerate(("ground", *PACKAGES, "top"))}
    for path in SOURCE.rglob("*.py"):
        package = package_of(module_name(path))
        for other in {package_of(name) for name in imported(path)} - {package}:
            # The version stands in the file that all others lie below.
            assert other == "top" or rank[other] < rank[package], f"{module_name(path)} imports {other}"


def package_of(name: str) -> str:
    """The package that a module is in; "ground" and "top" for files beside them."""
    first = name.split(".", maxsplit=1)[0]
    if first in GROUND:
        return "ground"
    assert first in (*PACKAGES, "", "__main__"), f"{name} has no place in the order: give it one"
    return first if first in PACKAGES else "top"


def test_no_modules_import_each_other_in_a_circle() -> None:
    sorter = TopologicalSorter({module_name(p): imported(p) - {""} for p in SOURCE.rglob("*.py")})
    sorter.prepare()  # raises CycleError, which names the circle


def test_no_module_uses_anothers_private_names() -> None:
    trees = {path: list(ast.walk(ast.parse(path.read_text()))) for path in SOURCE.rglob("*.py")}
    own = {path: {name for node in nodes for name in private_names(node)} for path, nodes in trees.items()}
    ours = set().union(*own.values())
    for path, nodes in trees.items():
        reached = {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__")
            if ast.unparse(node.value) not in {"self", "cls", "super()"}
        }
        # The packages of EfficientNet-Lite have such names themselves.
        if path.name != "efficientnet.py":
            assert not (reached & ours) - own[path], f"{module_name(path)} uses what is private elsewhere"


def private_names(node: ast.AST) -> list[str]:
    """Private names that a node defines: functions, class attributes, attributes of self."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name] if node.name.startswith("_") else []
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    names = [
        target.id if isinstance(target, ast.Name) else target.attr
        for target in (part for one in targets for part in ast.walk(one))
        if isinstance(target, ast.Name)
        or (isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self")
    ]
    return [name for name in names if name.startswith("_")]


def test_few_files_stand_at_the_top_and_each_package_says_what_it_is() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= 8
    for path in SOURCE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


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
