"""The inlined graph: one path per call site, one tap per tensor, nothing left behind."""

import warnings

import pytest
import torch
from torch import nn

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript import check as torchscript_check
from entangle_cli.models.torchscript import taps as torchscript_taps
from entangle_cli.models.torchscript.graph import TapGraph


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x):
        return torch.relu(self.lin(x)), x.sum(), 3


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Inner(), Inner()])

    def forward(self, x):
        for block in self.blocks:
            x, _, _ = block(x)
        parts = x.chunk(2, 1)
        return parts[0] + parts[1]


@pytest.fixture
def graph():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(Outer().eval())
    return module, TapGraph(module)


def test_modules_of_one_class_keep_their_own_paths(graph):
    _, tapped = graph
    paths = [call.path for call in tapped.calls]
    assert paths == ["blocks.0", "blocks.0.lin", "blocks.1", "blocks.1.lin"]
    assert {call.kind for call in tapped.calls} == {"Inner", "Linear"}


def test_only_tensors_are_tapped_and_elements_of_tuples_one_by_one(graph):
    _, tapped = graph
    results = [s.kind for s in tapped.sites if s.role == "result" and s.call == 0]
    assert results == ["[0]", "[1]"]


def test_enters_and_leaves_are_balanced_and_nested(graph):
    module, tapped = graph
    depth = []

    def receive(site, value):
        where = tapped.sites[site]
        if where.role == "enter":
            depth.append(where.call)
        elif where.role == "leave":
            assert depth.pop() == where.call

    run = tapped.tapped(frozenset(range(len(tapped.sites))))
    run(module, [torch.ones(2, 4)], receive)
    assert depth == []


def test_lists_arrive_whole_and_unwanted_taps_are_silent(graph):
    module, tapped = graph
    chunk = next(i for i, site in enumerate(tapped.sites) if site.kind == "aten::chunk")
    seen = []
    x = torch.ones(2, 4)
    output = tapped.tapped(frozenset({chunk}))(module, [x], lambda *event: seen.append(event))
    ((site, value),) = seen
    assert site == chunk
    assert [tuple(part.shape) for part in value] == [(2, 2), (2, 2)]
    assert torch.equal(output, module(x))


def test_the_module_itself_keeps_its_graph(graph):
    module, tapped = graph
    tapped.tapped(frozenset())
    assert "entangle" not in str(module.graph)
    assert "CallMethod" in str(module.graph)


def test_nothing_stays_registered_after_a_call_or_a_failure(graph):
    module, tapped = graph
    run = tapped.tapped(frozenset(range(len(tapped.sites))))

    def fail(site, value):
        raise LookupError("no room")

    run(module, [torch.ones(2, 4)], lambda *event: None)
    with pytest.raises(LookupError, match="no room"):
        run(module, [torch.ones(2, 4)], fail)
    assert not torchscript_taps._running


def test_a_torch_with_another_graph_interface_is_named(monkeypatch):
    torchscript_check.check_graph_interface.cache_clear()
    with monkeypatch.context() as patch:
        patch.delattr(torch._C, "_create_function_from_graph")
        with pytest.raises(ModelError, match=r"torch .* has another graph interface"):
            torchscript_check.check_graph_interface()
    torchscript_check.check_graph_interface()
