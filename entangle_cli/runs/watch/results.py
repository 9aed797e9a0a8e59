"""What a watch has measured, checkpoint by checkpoint, and the one result that it makes."""

import csv
import json
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from entangle_cli.models.series import Checkpoint, order_checkpoints
from entangle_cli.results import Result, Row
from entangle_cli.runs.measure.measuring import Measuring
from entangle_cli.runs.measure.pairs import TABLE, parsed_pair
from entangle_cli.text import parse_json, plain


class Pieces:
    """A `Measuring` per checkpoint of ``folder``, by file name; ``new`` makes an empty one.

    ``provenance`` describes the whole; ``notes`` are about the whole as well.
    """

    def __init__(self, folder: Path, *, new: Callable[[], Measuring], provenance: Row) -> None:
        self.folder, self.new, self.provenance = folder, new, provenance
        self.notes: list[str] = []
        self._pieces: dict[str, Measuring] = {}
        self._unwritten = False

    def __len__(self) -> int:
        return len(self._pieces)

    def __contains__(self, name: str) -> bool:
        return name in self._pieces

    @property
    def names(self) -> list[str]:
        """The checkpoints that have been measured."""
        return list(self._pieces)

    @property
    def paths(self) -> dict[str, Path]:
        """The same with their places."""
        return {name: self.folder / name for name in self._pieces}

    @property
    def failed(self) -> list[str]:
        """What of them could not be measured."""
        return [what for piece in self._pieces.values() for what in piece.failed]

    def put(self, name: str, piece: Measuring) -> None:
        """Keep what was measured of a checkpoint, in place of what was known of that name."""
        self._pieces[name] = piece
        self._unwritten = True

    def ordered(self, names: Iterable[str]) -> list[Checkpoint]:
        """Checkpoints by step, which the names of all that are known tell together."""
        wanted = set(names)
        known = [self.folder / name for name in dict.fromkeys([*self._pieces, *sorted(wanted)])]
        return [one for one in order_checkpoints(known) if one.path.name in wanted]

    def result(self) -> Result:
        """Everything measured so far, in the order of the steps; there must be something."""
        whole = self.new()
        whole.result.provenance = self.provenance
        for checkpoint in self.ordered(self._pieces):
            absorb(whole, self._pieces[checkpoint.path.name], checkpoint.step)
        whole.finish()
        whole.result.notes += [note for note in self.notes if note not in whole.result.notes]
        return whole.result

    def write(self, *, always: bool = False) -> Sequence[Path]:
        """Write the files, where something has come since or ``always``; which they are."""
        if not self._pieces or not (self._unwritten or always):
            return []
        written = self.result().write(self.new().run.output)
        self._unwritten = False
        return written

    def take_over(self, present: Container[str]) -> None:
        """What an earlier watch of the same kind measured of checkpoints that are gone by now.

        Those that are ``present`` are measured again, which is quick: their layers are kept.
        """
        blank = self.new()
        if blank.run.overwrite:
            return
        try:
            text = (blank.run.output / "measure.json").read_text(encoding="utf-8")
            earlier = parse_json(text)
            if earlier["provenance"] != json.loads(json.dumps(self.provenance)):
                return
            found = {model["model"]: model for model in earlier["models"]}
            rows = [(row["model"], row) for row in earlier["rows"]]
        except (OSError, ValueError, KeyError, TypeError):
            return
        pairs = _earlier_pairs(blank.run.output / f"{TABLE}.csv") if blank.pairs else []
        for name, model in found.items():
            if name not in present:
                piece = self.new()
                piece.result.models.append(model)
                piece.result.rows += [row for of, row in rows if of == name]
                if blank.pairs:
                    self._take_over_pairs(name, piece, pairs)
                self._pieces[name] = piece

    def _take_over_pairs(self, name: str, piece: Measuring, pairs: Sequence[Row]) -> None:
        own = [row | {"model": name} for row in pairs if row["model"] == plain(name)]
        if own:
            piece.result.tables[TABLE] = own
        else:
            self.notes.append(f"pairs of classes: none of {name}, which is gone")


def _earlier_pairs(path: Path) -> list[Row]:
    """The pairs that an earlier watch has written; none where they cannot be read."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [parsed_pair(line) for line in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error):
        return []


def require_rows(piece: Measuring) -> None:
    """Say what failed of one checkpoint.

    Raises:
        EntangleError: nothing of it was measured.
    """
    notes = list(piece.result.notes)
    piece.finish()
    # notes on layers are put together for all checkpoints at once (`absorb`)
    piece.result.notes = notes


def absorb(whole: Measuring, piece: Measuring, step: int | None) -> None:
    """Add what ``piece`` found of one checkpoint to ``whole``; its step may be known better now."""
    found = piece.result
    for row in (*found.models, *found.rows, *(row for t in found.tables.values() for row in t)):
        row["step"] = step
    whole.result.models += found.models
    whole.result.rows += found.rows
    for name, rows in found.tables.items():
        whole.result.tables.setdefault(name, []).extend(rows)
    whole.result.notes += [note for note in found.notes if note not in whole.result.notes]
    for note, places in piece.noted.items():
        whole.noted.setdefault(note, []).extend(places)
