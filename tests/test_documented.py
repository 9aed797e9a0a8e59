"""Nothing in the documentation is unproved: examples run, names and pages are complete."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import api_reference
import pytest
import typer
from test_docs import CHECKOUT, PAGES, commands, run

from entangle_cli.app import app

DOCS = CHECKOUT / "docs"
# the test that runs the examples of a page
RUN_BY = {
    "README.md": "test_the_commands_of_the_readme_run_on_a_users_files",
    "activation-file.md": "test_the_examples_of_the_activation_file_page_run",
    "library.md": "test_the_example_of_the_library_page_runs",
    "papers.md": "test_the_claims_are_listed_as_the_papers_page_does",
    "report.md": "test_the_commands_of_the_report_page_run",
    "scaling.md": "test_the_commands_of_the_scaling_page_run",
    "training.md": "test_the_commands_of_the_training_page_run",
    "tutorial.md": "test_the_tutorial_runs_as_it_stands",
    "watching.md": "test_the_commands_of_the_watching_page_run",
}
INSTALLS = "it installs packages; .ci/run does so in a clean checkout"
SUITES = "it runs tests, which run by themselves"
HOURS = "it takes minutes to hours and needs data; tests/papers run claims at small sizes"
# lines of the documentation that no test runs
NOT_RUN = {
    "python -m pip install -c constraints.txt . && entangle demo demo": INSTALLS,
    "python -m pip install -c constraints.txt -e '.[dev]' && python -m pytest -n 2": INSTALLS,
    "python3.11 -m venv .venv && source .venv/bin/activate": INSTALLS,
    "python -m pip install -c constraints.txt -e '.[dev]'": INSTALLS,
    "python -m pip install mkdocs && mkdocs build --strict": INSTALLS,
    "python -m pytest -n 2": SUITES,
    "ruff check . && ruff format --check .": SUITES,
    "python -m pytest tests/hostile": SUITES,
    "python -m pytest -m slow tests/hostile": SUITES,
    "python -m pytest tests/fuzz": SUITES,
    "python -m pytest tests/faults": SUITES,
    "python -m pytest tests/test_security_page.py": SUITES,
    "python -m tests.fuzz --mutants 200000 --workers 2": SUITES,
    "entangle reproduce figure-1": HOURS,
    "entangle reproduce table-1 --data DATA": HOURS,
    "entangle reproduce all --scale quick --data DATA": HOURS,
    "entangle attack NETWORK.pt DATA --method auto-attack --epsilon 0.1": (
        "it needs an extra and minutes; tests/attacks"
    ),
    "entangle measure test --watch runs/a": "it ends by Ctrl-C; tests/commands/test_watch.py",
    "entangle measure test --watch runs/a --log-to wandb:my-project --log-to mlflow": (
        "it ends by Ctrl-C and needs an account; tests/commands/test_trackers.py"
    ),
}


def test_every_example_runs_in_a_test_or_is_known_not_to():
    left = [
        f"{page.name}: {line}"
        for page in PAGES
        for line in commands(page)
        if line not in NOT_RUN and page.name not in RUN_BY
    ]
    assert left == []
    written = {line for page in PAGES for line in commands(page)}
    assert set(NOT_RUN) - written == set()
    source = "".join(path.read_text() for path in sorted((CHECKOUT / "tests").glob("test_doc*.py")))
    assert [test for test in RUN_BY.values() if f"def {test}(" not in source] == []


def test_every_block_of_code_has_a_language():
    """So that none escapes the test above."""
    kinds = {
        (page.name, kind)
        for page in PAGES
        for kind in re.findall(r"^```(\w*)\n.*?^```$", page.read_text(), re.M | re.S)
    }
    generated = {"commands.md", "api.md"}
    assert {kind for name, kind in kinds if name not in generated} <= {
        "sh", "python", "toml", "yaml", "text"
    }  # fmt: skip
    # Python blocks are run by the tests of their pages
    with_python = {name for name, kind in kinds if kind == "python"}
    assert with_python == {"activation-file.md", "library.md", "training.md"}


def test_the_api_reference_equals_the_docstrings():
    assert api_reference.PAGE.read_text() == api_reference.render(), (
        "run python tests/api_reference.py"
    )


def test_every_public_name_method_and_property_is_described():
    assert api_reference.undocumented() == []


def test_every_option_and_argument_of_every_command_says_what_it_is():
    group = typer.main.get_command(app)
    silent = [
        f"{name} {parameter.name}"
        for name, command in group.commands.items()
        for parameter in command.params
        if not (getattr(parameter, "help", None) or "").strip()
    ]
    assert silent == []
    assert [name for name, command in group.commands.items() if not command.help] == []


def test_every_page_is_in_the_index_and_on_the_site():
    index, site = (DOCS / "index.md").read_text(), (CHECKOUT / "mkdocs.yml").read_text()
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert sorted(page for page in pages if f"]({page})" not in index) == []
    assert sorted(page for page in pages if f": {page}\n" not in site) == []


def test_every_key_of_settings_and_of_the_project_file_is_on_the_concepts_page():
    from entangle_cli.datasets import settings
    from entangle_cli.datasets.presets import PRESETS
    from entangle_cli.project import _KEYS

    text = (DOCS / "concepts.md").read_text()
    rows = re.findall(r"^\| (.*?) \|", text.partition("A settings file")[2], re.M)
    keys = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert set(settings._READERS) <= keys
    assert [name for name in PRESETS if f"`{name}`" not in text] == []
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    assert [key for key in _KEYS if key not in example and f"`{key}`" not in text] == []


def test_the_pictures_show_what_is_said_of_them():
    import concept_pictures

    text = (DOCS / "concepts.md").read_text().replace("\n", " ")
    values = [panel.title.rpartition(" ")[2] for panel in concept_pictures.points_figure().panels]
    said = re.search(r"apart, entanglement ([\d.]+); .*?, ([\d.]+); mixed, ([\d.]+)\]", text)
    assert list(said.groups()) == values
    pictures = set(re.findall(r"\]\(pictures/([\w.]+)\)", text))
    assert pictures == {"clouds.svg", "temperature.svg"}


@pytest.fixture
def project(tmp_path, project_folder) -> Path:
    shutil.copytree(project_folder, tmp_path / "project")
    return tmp_path / "project"


def test_the_examples_of_the_activation_file_page_run(project):
    assert run("entangle dump checkpoints/digits-step1000.onnx test --file acts.h5", project)
    text = (DOCS / "activation-file.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == 2
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=project, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_claims_are_listed_as_the_papers_page_does(tmp_path):
    (line,) = [line for line in commands(DOCS / "papers.md") if line not in NOT_RUN]
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "figure-1" in done.stdout


def test_the_commands_of_the_training_page_run(project):
    """With fewer steps and inputs; what belongs to the Python examples runs in tests/training."""
    with_code = ("own/", "gan/")
    lines = [
        line
        for line in commands(DOCS / "training.md")
        if line not in NOT_RUN and not any(made in line for made in with_code)
    ]
    assert {line.split()[1] for line in lines} == {"train", "measure", "search", "attack"}
    shorter = {"train": " --steps 20", "attack": " --limit 20"}
    for line in lines:
        verb = line.split()[1]
        if verb == "search" and find_spec("optuna") is None:
            continue
        given = line.replace("NETWORK.pt DATA", "checkpoints/digits-step1000.pt test")
        given = re.sub(r"--(steps|trials) \d+", r"--\1 3", given) + shorter.get(verb, "")
        done = run(given, project)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_commands_of_the_watching_page_run(project):
    (project / "runs").mkdir()
    shutil.copytree(project / "checkpoints", project / "runs" / "a")
    lines = [line for line in commands(DOCS / "watching.md") if line not in NOT_RUN]
    assert len(lines) == 2
    for line in lines:
        if "tensorboard" in line and find_spec("tensorboard") is None:
            continue
        done = run(line, project)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
