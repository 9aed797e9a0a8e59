"""The reference of all commands, as `docs/commands.md` holds it.

Run as a script to rewrite that file.
"""

from pathlib import Path

from typer.testing import CliRunner

from entangle_cli.app import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
INTRODUCTION = """\
# Commands

The result goes to stdout, everything else to stderr. Models and data are paths, or names from
`entangle.toml` ([concepts](concepts.md)). This page is generated from `--help`
(`python tests/command_reference.py`).

| exit code | means |
|---|---|
| 0 | done |
| 1 | a bug in entangle (the only case with a traceback) |
| 2 | wrong use or bad input, said in one line |
| 3 | stopped early or partly done; everything committed is kept and the same command resumes |
| 4 | a `--fail-if` condition is met; everything is written all the same |
| 130, 143, 129 | stopped by Ctrl-C, SIGTERM, SIGHUP; what is committed is kept |
"""


def command_names() -> list[str]:
    return [command.name for command in app.registered_commands]


def help_text(*words: str) -> str:
    result = CliRunner().invoke(
        app, [*words, "--help"], prog_name="entangle", env={"COLUMNS": "100"}
    )
    assert result.exit_code == 0, result.output
    return result.output.strip()


def render() -> str:
    sections = [f"## entangle {name}\n\n```\n{help_text(name)}\n```\n" for name in command_names()]
    return "\n".join([INTRODUCTION, *sections])


if __name__ == "__main__":
    PAGE.write_text(render())
