"""The command line in this process, and the demo's project, as for the tests of commands."""

from tests.commands.conftest import entangle, project

__all__ = ["entangle", "project"]
