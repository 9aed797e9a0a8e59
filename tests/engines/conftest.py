"""The command line in this process, the demo's project, and an engine without a cluster."""

import pytest

from tests.commands.conftest import entangle, project
from tests.engines.disorder import Disordered

__all__ = ["entangle", "project"]


@pytest.fixture
def disordered(monkeypatch):
    monkeypatch.setattr("entangle_cli.engines.ray.RayEngine", Disordered)
    monkeypatch.setattr(Disordered, "deadly", "nothing")
    return Disordered


@pytest.fixture
def given(monkeypatch):
    """The names of the units that an engine was given."""
    names: list[str] = []
    run = Disordered.run

    def noting(self, work, units, progress):
        names.extend(unit.name for unit in units)
        return run(self, work, units, progress)

    monkeypatch.setattr(Disordered, "run", noting)
    return names
