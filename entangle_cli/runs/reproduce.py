"""What ``entangle reproduce`` does, without its options."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entangle_cli.errors import EntangleError, StoppedEarly, UsageError
from entangle_cli.results import Result
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import resolve_device
from entangle_cli.runs.shared.provenance import provenance
from entangle_cli.runs.shared.run_options import RunOptions

if TYPE_CHECKING:
    from entangle_cli.papers.claim import Claim, Scale, Settings
    from entangle_cli.papers.shelf import Shelf

_NETWORKS = "networks"


def list_claims(scale: "Scale", data: Path | None, run: RunOptions) -> Result:
    """A row per claim: what it is, what it needs, how long it takes, and its state in the folder.

    ``state``: ``done``, ``missing data`` (which), or ``to do``; a claim in the folder at another
    scale or seed is ``other``.
    """
    from entangle_cli.papers.catalogue import catalogue
    from entangle_cli.papers.keeping import read_finished
    from entangle_cli.papers.shelf import Shelf

    shelf = Shelf(data)
    result = Result(command="reproduce-list")
    for claim in catalogue():
        missing = shelf.missing(claim.needs)
        finished = read_finished(run.output / claim.name)
        state = f"missing data: {', '.join(missing)}" if missing else "to do"
        if finished is not None:
            made = finished["identity"]
            same = (made["scale"], made["seed"]) == (scale, run.seed)
            state = "done" if same else f"other: scale {made['scale']}, seed {made['seed']}"
        result.rows.append(
            {
                "claim": ", ".join(claim.names),
                "title": claim.title,
                "data": ", ".join(claim.needs),
                "minutes": claim.minutes[scale],
                "state": state,
            }
        )
    return result


def reproduce_claims(
    names: Sequence[str], scale: "Scale", data: Path | None, run: RunOptions, terminal: Terminal
) -> tuple[Result, StoppedEarly | None]:
    """Measure claims, or keep what is measured; returns their comparisons, and what was left out.

    A claim whose data are missing is left out: with ``all`` that is a note, asked for by name it is
    an exit code. A claim that fails does not keep the others from running.

    Raises:
        UsageError: an unknown name, no folder of data, results of another run in the folder.
    """
    from entangle_cli.papers.catalogue import ALL, catalogue, chosen
    from entangle_cli.papers.shelf import Shelf

    claims = catalogue()
    wanted = chosen([name for name in names if name != "list"], claims)
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: no such folder; give one with mnist, fashion, ...")
    run = replace(run, device=resolve_device(run.device))
    work = _Work(scale, Shelf(data), run, terminal)
    for claim in wanted:
        work.do(claim)
    return work.finish(claims, everything=ALL in names)


@dataclass
class _Work:
    """What is done and what is left out so far."""

    scale: "Scale"
    shelf: "Shelf"
    run: RunOptions
    terminal: Terminal
    done: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    kept: int = 0

    def do(self, claim: "Claim") -> None:
        """Measure one claim unless it is measured, or its data are missing."""
        from entangle_cli.papers.keeping import read_finished

        missing = self.shelf.missing(claim.needs)
        if missing:
            where = self.shelf.folder or "--data DIR"
            self.missing.append(f"{claim.name} (no {', '.join(missing)} below {where})")
            self.terminal.note(f"{claim.name}: left out, no {', '.join(missing)} below {where}")
            return
        try:
            self._measure(claim)
        except UsageError:
            raise
        except EntangleError as error:
            self.failed.append(claim.name)
            self.terminal.error(f"{claim.name}: {error}")
            return
        self.done.append(read_finished(self.run.output / claim.name))

    def _measure(self, claim: "Claim") -> None:
        from entangle_cli.papers.keeping import identity_of, still_holds, write_finished

        settings = self._settings(claim)
        folder = self.run.output / claim.name
        identity = identity_of(claim, settings)
        if not self.run.overwrite and still_holds(folder, identity):
            self.kept += 1
            self.terminal.note(f"{claim.name}: kept, measured before")
            return
        self.terminal.note(
            f"{claim.name}: {claim.title} (about {claim.minutes[self.scale]:g} minutes)"
        )
        started = time.monotonic()
        result = claim.run(settings)
        seconds = time.monotonic() - started
        write_finished(folder, claim, identity, result, seconds=seconds)
        verdicts = [one.verdict.value for one in result.comparisons]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        self.terminal.note(f"{claim.name}: {counts}; {seconds:.0f} s, {folder}")

    def _settings(self, claim: "Claim") -> "Settings":
        from entangle_cli.papers.claim import Settings

        return Settings(
            scale=self.scale,
            sizes=claim.sizes[self.scale],
            seed=self.run.seed,
            shelf=self.shelf,
            networks=self.run.output / _NETWORKS,
            device=self.run.device,
            progress=self.terminal,
            note=self.terminal.note,
        )

    def finish(
        self, claims: Sequence["Claim"], *, everything: bool
    ) -> tuple[Result, StoppedEarly | None]:
        """The comparisons asked for, the page of all finished claims, and the exit."""
        from entangle_cli.papers.keeping import read_finished
        from entangle_cli.papers.page import comparison_rows, write_page

        finished = [read_finished(self.run.output / claim.name) for claim in claims]
        page = write_page(self.run.output, [one for one in finished if one is not None])
        result = Result(
            command="reproduce",
            rows=[row for one in self.done for row in comparison_rows(one)],
            provenance=provenance(
                scale=self.scale,
                seed=self.run.seed,
                claims=[one["name"] for one in self.done],
                page=[str(path) for path in page],
            ),
        )
        if self.kept:
            result.notes.append(f"{self.kept} claims were measured before and kept")
        if self.missing:
            result.notes.append(f"left out for want of data: {'; '.join(self.missing)}")
        if find_spec("matplotlib") is None:
            result.notes.append("for the figures: pip install 'entangle-cli[report]'")
        return result, self._left_out(everything)

    def _left_out(self, everything: bool) -> StoppedEarly | None:
        parts = []
        if self.missing and not everything:
            parts.append(f"left out for want of data: {'; '.join(self.missing)}; give --data DIR")
        if self.failed:
            parts.append(f"failed: {', '.join(self.failed)}")
        return StoppedEarly("; ".join(parts)) if parts else None
