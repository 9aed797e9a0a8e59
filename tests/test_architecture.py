"""The shape of the package: who may import whom, and how long things may be.

The table is the documentation: a stage imports itself and what its row names.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "entangle_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

ROOT = {"__init__", "errors", "text", "progress", "scratch", "rehearsal", "results", "project"}
GROUND = {"__init__", "errors", "text", "progress", "scratch", "rehearsal"}
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "text": set(),
    "progress": set(),
    "scratch": set(),
    "rehearsal": set(),
    "results": {"__init__", "text"},
    "project": {"errors", "text"},
    "models": GROUND,
    "datasets": GROUND,
    "activations": GROUND | {"models", "datasets"},
    "neighbors": GROUND,
    "measures": GROUND | {"neighbors"},
    "library": GROUND | {"models", "activations", "neighbors", "measures"},
    "report": GROUND | {"results"},
    "attacks": GROUND | {"datasets"},
    "engines": ROOT,
    "training": GROUND | {"datasets", "measures"},
    "papers": GROUND
    | {"results", "datasets", "neighbors", "measures", "attacks", "training", "report"},
    "runs": ROOT
    | {
        "models",
        "datasets",
        "activations",
        "neighbors",
        "measures",
        "attacks",
        "training",
        "papers",
        "library",
        "report",
        "engines",
    },
    "commands": ROOT
    | {
        "models",
        "datasets",
        "activations",
        "neighbors",
        "measures",
        "attacks",
        "training",
        "papers",
        "runs",
        "library",
        "report",
        "engines",
    },
    "app": ROOT | {"commands", "runs"},
    "__main__": {"app"},
}
# third-party packages that stay behind one door
ONLY_IN = {
    "h5py": {"activations", "datasets", "commands/doctor.py"},
    "onnxruntime": {"models", "commands/doctor.py"},
    "onnx": {"models", "training"},
    "rich": {"runs", "commands"},
    "typer": {"commands", "app.py"},
    "PIL": {"datasets"},
    "pynndescent": {"neighbors"},
    "matplotlib": {"report"},
    "wandb": {"runs/measure/trackers.py"},
    "mlflow": {"runs/measure/trackers.py"},
    "jinja2": {"report"},
    "ray": {"engines"},
    "openTSNE": {"measures/embedding.py"},
    "art": {"attacks/served.py"},
}
LONGEST_FILE = 250
LONGEST_FUNCTION = 40


def stage(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported_modules(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "entangle_cli":
                found += [f"entangle_cli.{alias.name}" for alias in node.names]
            else:
                found.append(node.module or "")
    return found


def violations(path: Path, source: str) -> list[str]:
    """Imports of ``source`` that its stage may not make."""
    here = stage(path)
    allowed = MAY_IMPORT[here] | {here}
    relative = path.relative_to(PACKAGE).as_posix()
    bad = []
    for module in imported_modules(ast.parse(source)):
        top, _, rest = module.partition(".")
        if top == "entangle_cli":
            target = rest.partition(".")[0]
            if target in ("", "__version__"):
                target = "__init__"
            if target not in allowed:
                bad.append(f"{relative} imports {module}")
        elif top in ONLY_IN:
            doors = ONLY_IN[top]
            if here not in doors and relative not in doors:
                bad.append(f"{relative} imports {top}")
    return bad


def function_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    docstring = body[0].end_lineno - body[0].lineno + 1 if documented else 0
    return node.end_lineno - node.lineno + 1 - docstring


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_every_import_is_in_the_table(path):
    assert violations(path, path.read_text()) == []


def test_the_table_finds_planted_violations():
    planted = {
        "measures/snnl.py": "from rich import console",
        "measures/temperature.py": "from entangle_cli.activations import file",
        "models/onnx/model.py": "import entangle_cli.datasets.formats.idx",
        "datasets/formats/idx.py": "from entangle_cli.models import Model",
    }
    for name, source in planted.items():
        assert len(violations(PACKAGE / name, source)) == 1, name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_and_functions_stay_short(path):
    source = path.read_text()
    assert source.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        # a command declares one parameter per option, which is not logic
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and stage(path) != "commands":
            assert function_length(node) <= LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_no_library_code_prints_or_catches_everything(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            assert stage(path) == "commands", f"print in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            names = (
                {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
                if node.type
                else {""}
            )
            assert not names & {"", "Exception"}, f"catches everything in line {node.lineno}"


def test_package_folders_say_what_they_are():
    for folder in {p.parent for p in FILES}:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert docstring, f"{folder.name}/__init__.py has no docstring"
