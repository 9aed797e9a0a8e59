"""Where the numbers of a report come from: commands, models, data, versions, notes."""

from collections.abc import Sequence

from entangle_cli.report.runs import COMMANDS, Run, text
from entangle_cli.results import Row

_OF_MODELS = ("accuracy", "preprocessing", "sha256")
# shown as a figure
_FIGURES = {"reliability"}


def provenance_of(runs: Sequence[Run]) -> list[Row]:
    """Title, command line, facts and notes of every command of every run."""
    entries = []
    for run in runs:
        for command in COMMANDS:
            result = run.results.get(command)
            if result is None:
                continue
            title = f"entangle {command}" if len(runs) == 1 else f"{run.name}: entangle {command}"
            notes = result.get("notes")
            entries.append(
                {
                    "title": title,
                    "asked": run.command_line(command),
                    "facts": [*_model_facts(run, command), *_facts(run.provenance(command))],
                    "notes": [text(note) for note in notes] if isinstance(notes, list) else [],
                }
            )
    return entries


def differently_fed(runs: Sequence[Run]) -> list[str]:
    """A sentence on every model that the commands of one run have prepared images for differently.

    Their numbers are about different inputs, which two probed conventions of nearly the same
    accuracy can bring about.
    """
    found = []
    for run in runs:
        fed: dict[str, dict[str, list[str]]] = {}
        for command in COMMANDS:
            for model in run.models(command):
                # what it was comes before where it was found
                how = text(model.get("preprocessing")).rpartition(" (")[0]
                if how:
                    ways = fed.setdefault(text(model.get("model")), {})
                    ways.setdefault(how, []).append(command)
        for name, ways in fed.items():
            if len(ways) > 1:
                told = "; ".join(f"{how} by {', '.join(by)}" for how, by in ways.items())
                found.append(
                    f"{run.name}: images were prepared differently for {name}: {told}. Choose one "
                    "with --preprocess and run these commands again."
                )
    return found


def _model_facts(run: Run, command: str) -> list[tuple[str, str]]:
    return [
        (
            text(model.get("model")),
            ", ".join(
                f"{name} {text(model.get(name))}"
                for name in _OF_MODELS
                if model.get(name) is not None
            ),
        )
        for model in run.models(command)
    ]


def _facts(provenance: Row) -> list[tuple[str, str]]:
    """A line for each key that has a value."""
    return [
        (text(name), _told(value))
        for name, value in provenance.items()
        if name not in _FIGURES and value is not None
    ]


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{text(k)} {_told(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list):
        parted = "; " if any(isinstance(one, dict) for one in value) else ", "
        return parted.join(map(_told, value))
    return text(value)
