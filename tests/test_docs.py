"""The documentation is true: commands run, options are named, links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_reference import PAGE, command_names, render

from entangle_cli.datasets.formats.letters import write_letters
from entangle_cli.measures.ood.catalogue import METHODS

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]


def shell_blocks(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line for block in shell_blocks(page) for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def run(line: str, folder: Path) -> subprocess.CompletedProcess:
    """Run one documented line as a shell would, with this interpreter's ``entangle``."""
    line = re.sub(r"^entangle\b", f"{shlex.quote(sys.executable)} -m entangle_cli", line)
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_command_reference_equals_help():
    assert PAGE.read_text() == render(), "run python tests/command_reference.py"


@pytest.mark.parametrize("name", command_names())
def test_every_command_is_in_the_readme_or_the_tutorial(name):
    text = (CHECKOUT / "docs" / "commands.md").read_text()
    assert f"## entangle {name}\n" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_to_a_file(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


OWN_FILES = "## Your own files\n"


def test_the_tutorial_runs_as_it_stands(tmp_path):
    folder = tmp_path
    before, heading, _ = (CHECKOUT / "docs" / "tutorial.md").read_text().partition(OWN_FILES)
    assert heading
    (tmp_path / "page.md").write_text(before)
    for line in commands(tmp_path / "page.md"):
        if line.startswith("cd "):
            folder = folder / line.removeprefix("cd ")
            continue
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_example_of_the_library_page_runs(tmp_path, project_folder):
    shutil.copytree(project_folder, tmp_path / "project")
    page = (CHECKOUT / "docs" / "library.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path / "project", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "DkNN accuracy 0.9" in done.stdout
    assert {"energy:", "vim:", "knn@fc2:"} <= set(done.stdout.split())


def test_every_public_name_is_on_the_library_page():
    import entangle_cli

    page = (CHECKOUT / "docs" / "library.md").read_text()
    names = [name for name in entangle_cli.__all__ if name != "__version__"]
    assert [name for name in names if f"`{name}" not in page] == []


def test_the_commands_of_the_report_page_run(tmp_path, project_folder):
    shutil.copytree(project_folder, tmp_path / "project")
    folder = tmp_path / "project"
    assert run("entangle measure checkpoints/digits-step1000.onnx test", folder).returncode == 0
    for name in ("baseline-out", "mixed-out"):
        shutil.copytree(folder / "entangle-out", folder / name)
    for line in commands(CHECKOUT / "docs" / "report.md"):
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (folder / "report.html").exists()
    assert "mixed-out against baseline-out" in (folder / "compared.html").read_text()
    assert (folder / "figures" / "entanglement.csv").exists()


@pytest.fixture
def own_files(tmp_path, trained_onnx, image_folder, digits_folder) -> Path:
    """A model and data of the names that the documentation gives to a reader's own."""
    for name in ("model.onnx", "run/step1.onnx", "run/step2.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(trained_onnx, tmp_path / name)
    shutil.copy(trained_onnx.with_suffix(".pt"), tmp_path / "model.pt")
    shutil.copytree(image_folder, tmp_path / "data")
    shutil.copytree(digits_folder("train", 400), tmp_path / "train")
    shutil.copytree(digits_folder("holdout", 200), tmp_path / "holdout")
    shutil.copy(image_folder.parent / "test.npz", tmp_path / "test.npz")
    write_letters(tmp_path / "other", 50)
    shutil.copy(next((tmp_path / "other").rglob("*.png")), tmp_path / "photo.png")
    return tmp_path


def run_all(lines: list[str], folder: Path) -> None:
    for line in lines:
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_commands_of_the_readme_run_on_a_users_files(own_files):
    """The lines under 'Your own model', with a model and a data folder of those names."""
    lines = [line for line in commands(CHECKOUT / "README.md") if line.startswith("entangle")]
    assert len(lines) >= 5
    run_all(lines, own_files)
    assert (own_files / "report.html").exists()


def test_the_end_of_the_tutorial_runs_on_a_users_files(own_files):
    _, _, after = (CHECKOUT / "docs" / "tutorial.md").read_text().partition(OWN_FILES)
    (own_files / "page.md").write_text(after)
    lines = commands(own_files / "page.md")
    assert len(lines) == 7
    run_all(lines, own_files)
    page = (own_files / "report.html").read_text()
    assert "entangle ood model.onnx --in data/" in page
    assert "were prepared differently" not in page


def test_the_commands_of_the_scaling_page_run(own_files):
    lines = commands(CHECKOUT / "docs" / "scaling.md")
    assert len(lines) == 7
    run_all(lines, own_files)
    assert (own_files / "out" / "results.json").exists()


def test_the_readme_counts_the_detectors():
    text = (CHECKOUT / "README.md").read_text()
    assert f": {len({method.name for method in METHODS})} of them" in text


def test_every_detector_is_in_the_table_of_the_measures_at_its_place():
    text = (CHECKOUT / "docs" / "measures.md").read_text().partition("### An example")[0]
    places = "logits|features|layer|all layers"
    rows = re.findall(rf"^\| `(\w+)` \| ({places}) \|", text, re.MULTILINE)
    place = {"layers": "all layers"}
    assert sorted(rows) == sorted((m.name, place.get(m.scope, m.scope)) for m in METHODS)


def test_the_readme_says_how_to_set_up_in_two_commands():
    installs = [line for line in commands(CHECKOUT / "README.md") if "pip install" in line]
    assert len(installs) == 2
    assert installs[0].endswith("&& entangle demo demo")
    assert installs[1].endswith("&& python -m pytest -n 2")
    assert installs[1] in (CHECKOUT / "README.md").read_text()
