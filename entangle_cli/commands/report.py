"""``entangle report``: the figures and numbers of one or several runs as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import options


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Output folders of earlier commands; several are put side by side.  "
            "[default: entangle-out]",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Its heading.")] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write every figure there too, as SVG, PNG and the CSV behind it; needs the extra "
            "'report'.",
        ),
    ] = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Figures and numbers of runs as one self-contained page, to be opened in a browser."""
    from entangle_cli.report.runs import read_runs
    from entangle_cli.runs.report import need_matplotlib, write_figures, write_page
    from entangle_cli.runs.shared.console import Terminal

    terminal = Terminal(quiet=quiet, verbose=verbose)
    if figures is not None:
        need_matplotlib()
    found = read_runs(runs or [Path("entangle-out")])
    names = " and ".join(run.name for run in found)
    size = write_page(found, output, title or f"Entanglement of {names}")
    terminal.note(f"wrote {output} ({size / 1e6:.1f} MB)")
    if figures is not None:
        written = write_figures(found, figures)
        terminal.note(f"wrote {len(written)} files to {figures}")
