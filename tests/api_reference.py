"""The reference of the Python API, as `docs/api.md` holds it: signatures and docstrings.

Run as a script to rewrite that file.
"""

import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path

import entangle_cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
INTRODUCTION = """\
# Python API

What a program may rely on; [the library](library.md) shows it at work. This page is generated from
the docstrings (`python tests/api_reference.py`). All names are imported from `entangle_cli`, the
objectives for training from the modules that are named with them.
"""
# losses and objectives for one's own training loop
TRAINING = {
    "EntangledObjective": "entangle_cli.training.objective",
    "SoftNearestNeighborLoss": "entangle_cli.training.soft_nearest_neighbors",
    "TripletLoss": "entangle_cli.training.triplet",
}


# what functions and methods of the others return
RETURNED = {
    "Model": "entangle_cli.models",
    "Dataset": "entangle_cli.datasets.dataset",
    "Entanglement": "entangle_cli.measures.temperature",
    "Evaluation": "entangle_cli.measures.evaluation",
    "EntangleError": "entangle_cli.errors",
}


def public_names() -> dict[str, str]:
    """Every public name with the module that it is imported from."""
    own = {name: "entangle_cli" for name in entangle_cli.__all__ if name != "__version__"}
    return own | RETURNED | TRAINING


def members(thing: type) -> list[tuple[str, object]]:
    """Public methods and properties, in the order of the source."""
    return [
        (name, value)
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and (isinstance(value, (property, classmethod, staticmethod)) or inspect.isfunction(value))
        and name not in ("forward",)
    ]


def signature(thing: object) -> str:
    """As it is called; annotations as they are written, without the modules of their types."""
    if isinstance(thing, type) and issubclass(thing, Exception):
        return ""
    text = str(inspect.signature(thing))
    if isinstance(thing, type):
        text = text.removesuffix(" -> None")
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", text)
    # a default that has no spelling of its own
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>|<factory>", "...", text).replace("NoneType", "None")
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)


def docstring(thing: object) -> str:
    """The text with its lists (``Raises:`` and the like) and examples as Markdown has them."""
    text = re.sub(r"``([^`]*)``", r"`\1`", inspect.cleandoc(thing.__doc__ or ""))
    parts = [_part(part) for part in text.split("\n\n")]
    return "\n\n".join(parts)


def _part(part: str) -> str:
    first, *rest = part.splitlines()
    if part.startswith((">>>", "    ")):
        return f"```text\n{inspect.cleandoc(part)}\n```"
    if not (re.fullmatch(r"[A-Z]\w+:", first) and rest):
        return part
    lines = [re.sub(r"^    (?! )", "- ", line) for line in rest]
    return "\n".join([first, "", *(re.sub(r"^ +", "  ", line) for line in lines)])


def section(name: str, module: str) -> str:
    thing = getattr(import_module(module), name)
    call = "" if module == "entangle_cli" else f"\n\nfrom `{module}`"
    parts = [f"## {name}{call}", f"```\n{name}{_shown(signature(thing))}\n```", docstring(thing)]
    if isinstance(thing, type):
        for member, value in members(thing):
            inner = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if isinstance(inner, property):
                parts += [f"### {name}.{member}", docstring(inner)]
                continue
            bound = (
                getattr(thing, member) if isinstance(value, (classmethod, staticmethod)) else None
            )
            shown = signature(bound or inner).replace("(self, ", "(").replace("(self)", "()")
            parts += [
                f"### {name}.{member}",
                f"```\n{member}{_shown(shown)}\n```",
                docstring(inner),
            ]
    return "\n\n".join(part for part in parts if part)


def _shown(text: str) -> str:
    """One line where it fits, else a line per parameter."""
    if len(text) <= 80:
        return text
    inside, _, after = text[1:].rpartition(")")
    return "(\n" + "".join(f"    {one},\n" for one in _parameters(inside)) + ")" + after


def _parameters(text: str) -> list[str]:
    """Parted at the commas that lie in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def undocumented() -> list[str]:
    """Public names, methods and properties without a docstring."""
    found = []
    for name, module in public_names().items():
        thing = getattr(import_module(module), name)
        inner = members(thing) if isinstance(thing, type) else []
        of = {name: thing} | {f"{name}.{member}": value for member, value in inner}
        generated = dataclasses.is_dataclass(thing) and (thing.__doc__ or "").startswith(f"{name}(")
        found += [one for one, value in of.items() if not value.__doc__]
        found += [name] * generated
    return found


def render() -> str:
    """The whole page."""
    sections = [section(name, module) for name, module in public_names().items()]
    return "\n\n".join([INTRODUCTION.strip(), *sections]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
