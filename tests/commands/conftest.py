import json
import shutil
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from entangle_cli.app import app


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict:
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.stderr
        return lines[0]


@pytest.fixture
def entangle():
    """Run the command line in this process."""

    def run(*words: object) -> Outcome:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def project(project_folder, tmp_path, monkeypatch):
    """A copy of the demo's project as the current folder."""
    shutil.copytree(project_folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
