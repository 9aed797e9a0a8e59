"""The page on security is true: floors, limits, the tests it names, and what is never done."""

import importlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = (CHECKOUT / "docs" / "security.md").read_text()
PACKAGE = CHECKOUT / "entangle_cli"


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their head lines."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [i for i, row in enumerate(cells) if set(row[0]) <= set("-: ")]
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def floors() -> dict[str, str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    found: dict[str, str] = {}
    for requirement in wanted:
        name, _, floor = requirement.partition(">=")
        floor = floor.partition(",")[0]
        assert found.setdefault(name.lower(), floor) == floor, f"two floors for {name}"
    return found


FLOORS = {package: floor for package, floor, _ in rows("Versions with known holes")}


def test_the_packages_that_read_files_are_in_the_table():
    assert set(FLOORS) == {"torch", "onnx", "onnxruntime", "h5py", "pillow", "jinja2"}


@pytest.mark.parametrize("package", FLOORS)
def test_a_floor_is_that_of_the_project(package):
    assert floors()[package] == FLOORS[package]


@pytest.mark.parametrize("package", FLOORS)
def test_what_is_installed_and_pinned_has_no_known_hole(package):
    pinned = re.search(
        rf"^{package}==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), re.I | re.M
    )
    assert version(pinned[1]) >= version(FLOORS[package])
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    assert version(installed) >= version(FLOORS[package])


# first fixed releases, as published; a lower floor would let a hole in
FIXED = {"torch": "2.10", "onnx": "1.21", "onnxruntime": "1.27", "pillow": "12.2"}


@pytest.mark.parametrize("package", FIXED)
def test_a_floor_is_not_below_the_fix(package):
    assert version(floors()[package]) >= version(FIXED[package])


def test_the_hdf5_of_h5py_has_no_known_hole():
    import h5py

    assert h5py.version.hdf5_version_tuple >= (1, 14, 5)


@pytest.mark.parametrize("row", rows("Limits on sizes"), ids=lambda row: row[0])
def test_a_limit_is_the_one_in_the_code(row):
    _, value, place = row
    module, _, name = place.strip("`").rpartition(".")
    found = getattr(importlib.import_module(f"entangle_cli.{module}"), name)
    assert found == int(value.replace(",", ""))


def test_what_the_page_names_is_there():
    for path in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (CHECKOUT / path).exists(), path
    text = "".join(path.read_text() for path in (CHECKOUT / "tests/hostile").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in text, name


def test_the_options_of_the_sandbox_have_the_defaults_of_the_page():
    from entangle_cli.commands import options
    from entangle_cli.models.sandbox.confinement import Limits
    from entangle_cli.models.sandbox.landlock import machine_memory

    assert options.limits(False, None, None) is None
    assert options.limits(True, None, None) == Limits(600.0, machine_memory())
    assert options.limits(False, 60, None).seconds == 60
    assert options.limits(False, None, 8).memory == 8 * 2**30
    assert "| 600 in a sandbox |" in PAGE


# what opens a door that the page says is closed
FORBIDDEN = (
    r"weights_only\s*=\s*False",
    r"allow_pickle\s*=\s*True",
    r"register_custom_ops",
    r"\.extractall\(",
    r"LOAD_TRUNCATED_IMAGES\s*=",
    r"yaml\.load\(",
    r"(?<![.\w])pickle\.loads?\(",
    r"(?<![.\w])(?:eval|exec)\(",
    r"shell\s*=\s*True",
    r"\bos\.system\(",
    r"\b(?:urllib\.request|import requests|http\.client|urlopen)\b",
)


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_code_of_ours_opens_a_door(pattern):
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(pattern, line)
    ]
    assert found == []
