"""What ``entangle reproduce`` does, without its options."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from entangle_cli.runs.spread.claims import (
    ClaimTask,
    claim_settings,
    claim_unit,
    measure_claim,
    measure_there,
)

if TYPE_CHECKING:
    from entangle_cli.papers.claim import Claim, Scale, Settings
    from entangle_cli.papers.shelf import Shelf


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
    work.do([claim for claim in wanted if work.has_data(claim)])
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

    def has_data(self, claim: "Claim") -> bool:
        """Whether the data of a claim are there; it is left out otherwise, and that is said."""
        missing = self.shelf.missing(claim.needs)
        if missing:
            where = self.shelf.folder or "--data DIR"
            self.missing.append(f"{claim.name} (no {', '.join(missing)} below {where})")
            self.terminal.note(f"{claim.name}: left out, no {', '.join(missing)} below {where}")
        return not missing

    def do(self, claims: "Sequence[Claim]") -> None:
        """Measure those that are not measured yet."""
        from entangle_cli.papers.keeping import read_finished

        missing = []
        for claim in claims:
            with self._apart(claim):
                if not self._kept(claim):
                    missing.append(claim)
        if self.run.engine is None:
            self._here(missing)
        else:
            self._there(missing)
        measured = (claim.name for claim in claims if claim.name not in self.failed)
        self.done = [read_finished(self.run.output / name) for name in measured]

    def _here(self, claims: "Sequence[Claim]") -> None:
        for claim in claims:
            self.terminal.note(
                f"{claim.name}: {claim.title} (about {claim.minutes[self.scale]:g} minutes)"
            )
            task = self._task(claim)
            with self._apart(claim):
                settings = self._settings(claim, task)
                self.terminal.note(measure_claim(claim, settings, task.folder))

    def _there(self, claims: "Sequence[Claim]") -> None:
        """By the engine, those that take longest first."""
        longest = sorted(claims, key=lambda claim: -claim.minutes[self.scale])
        units = [claim_unit(self._task(claim)) for claim in longest]
        self.terminal.start("claims", len(units))
        try:
            outcomes = self.run.engine.run(measure_there, units, self.terminal)
            for claim, outcome in zip(longest, outcomes, strict=True):
                with self._apart(claim):
                    if outcome.error is not None:
                        raise outcome.error
                    for line in outcome.value:
                        self.terminal.note(line)
        finally:
            self.terminal.finish()

    @contextmanager
    def _apart(self, claim: "Claim") -> Iterator[None]:
        """That a claim fails does not stop the others."""
        try:
            yield
        except UsageError:
            raise
        except EntangleError as error:
            self.failed.append(claim.name)
            self.terminal.error(f"{claim.name}: {error}")

    def _kept(self, claim: "Claim") -> bool:
        from entangle_cli.papers.keeping import identity_of, still_holds

        task = self._task(claim)
        identity = identity_of(claim, self._settings(claim, task))
        if self.run.overwrite or not still_holds(task.folder, identity):
            return False
        self.kept += 1
        self.terminal.note(f"{claim.name}: kept, measured before")
        return True

    def _task(self, claim: "Claim") -> ClaimTask:
        data = self.shelf.folder
        # the cluster chooses which GPU
        device = self.run.device.partition(":")[0] if self.run.engine else self.run.device
        return ClaimTask(
            claim.name,
            self.scale,
            self.run.seed,
            None if data is None else str(data),
            str(self.run.output),
            device,
        )

    def _settings(self, claim: "Claim", task: ClaimTask) -> "Settings":
        return claim_settings(
            task, claim, self.shelf, note=self.terminal.note, progress=self.terminal
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
