"""Names for all values of a network, and the rows that are measured by default.

The same rule for every file format: it sees only an `OpList`. A module's result has the module's
path, a functional result ``<weight module or block>>kind``, the k-th further one ``:k``. Where no
scopes exist, the operations with weights are counted: ``conv#3>relu``.
"""

from dataclasses import dataclass

from entangle_cli.models.blocks import build_tree
from entangle_cli.models.flow import trace_flow
from entangle_cli.models.naming import Namer
from entangle_cli.models.oplist import OpList
from entangle_cli.models.rows import default_rows, thin


@dataclass(frozen=True)
class NamedValue:
    """One tappable value: ``value`` is its number in the op list, ``kind`` what made it.

    ``aliases`` are the other module paths it is the result of (those of further calls also as
    ``relu_1``), and the name that the file itself uses.
    """

    name: str
    value: int
    kind: str
    default: bool
    aliases: tuple[str, ...] = ()


def name_layers(network: OpList, notes: list[str] | None = None) -> list[NamedValue]:
    """Every tappable value in execution order with a unique name; default rows are marked.

    Tappable is what an operation makes and ``network.source`` has. Where the rule finds more than
    20 rows, ``notes`` receives one line saying how many are left.
    """
    flow = trace_flow(network)
    tree = build_tree(network, flow)
    rows = [row for row in default_rows(network, flow, tree) if row.value in network.source]
    namer = Namer(network, flow, tree)
    names = namer.name_rows(rows)
    kept = thin(rows, names, [namer.kind(row.value) for row in rows])
    if len(kept) < len(rows) and notes is not None:
        notes.append(f"{len(kept)} of {len(rows)} default layers; --layers takes any others")
    default = {rows[i].value for i in kept}
    values = [v for op in network.ops for v in op.outs if v in network.source]
    for value in values:
        namer.name(value)
    return [
        NamedValue(namer.name(v), v, namer.kind(v), v in default, namer.aliases(v)) for v in values
    ]
