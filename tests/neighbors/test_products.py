"""The matrix product behind all distances, whichever library computes it."""

import itertools

import pytest
import torch

from entangle_cli.neighbors import products
from entangle_cli.neighbors.products import product


def operands(rows, columns, entries, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = (rows, entries), (columns, entries), (columns,)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.fixture(params=["onednn", "torch"])
def library(request, monkeypatch):
    """Both libraries, whatever the processor; the first only where torch has it."""
    if request.param == "torch":
        monkeypatch.setattr(products, "onednn_works", lambda: False)
    else:
        if not products._gives_right_products():
            pytest.skip("torch was built without oneDNN")
        monkeypatch.setattr(products, "onednn_works", lambda: True)
        monkeypatch.setattr(products, "FEWEST_PRODUCTS", 1)
        monkeypatch.setattr(products, "PIECE", 1 << 12)
    return request.param


@pytest.mark.parametrize("shape", [(1, 1, 40), (3, 5, 7), (65, 130, 33), (300, 200, 500)], ids=str)
def test_it_is_the_product_plus_bias(library, shape):
    x, y, bias = operands(*shape)
    expected = bias.double() + x.double() @ y.double().T
    for out in (None, torch.empty(shape[:2])):
        found = product(x, y, bias, out=out)
        assert out is None or found is out
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-7 * shape[2])


def test_a_view_is_filled_and_nothing_around_it(library):
    x, y, bias = operands(50, 100, 64)
    room = torch.full((60 * 100,), 7.0)
    out = room[500:5500].view(50, 100)
    assert product(x, y, bias, out=out) is out
    torch.testing.assert_close(out, bias + x @ y.T, rtol=0, atol=1e-4)
    assert (room[:500] == 7).all()
    assert (room[5500:] == 7).all()


def test_rows_with_a_bias_of_minus_infinity_stay_there(library):
    x, y, bias = operands(80, 90, 64)
    y[-7:], bias[-7:] = 0.0, -torch.inf
    assert (product(x, y, bias)[:, -7:] == -torch.inf).all()
    assert product(x, y, bias)[:, :-7].isfinite().all()


def test_equal_input_gives_equal_bytes(library):
    x, y, bias = operands(200, 300, 129)
    first = product(x, y, bias).numpy().tobytes()
    out = torch.empty(200, 300)
    assert product(x.clone(), y.clone(), bias.clone(), out=out).numpy().tobytes() == first


def test_float64_keeps_its_digits(library):
    x, y, bias = operands(200, 300, 129, dtype=torch.float64)
    torch.testing.assert_close(product(x, y, bias), bias + x @ y.T, rtol=0, atol=1e-12)


def test_transposed_rows_are_multiplied_too(library):
    x, y, bias = operands(64, 96, 80)
    found = product(x.T.contiguous().T, y, bias)
    torch.testing.assert_close(found, bias + x @ y.T, rtol=0, atol=1e-4)


def test_without_the_private_entry_torch_multiplies(monkeypatch):
    def gone(*operands):
        raise AttributeError("no such operator")

    monkeypatch.setattr(products, "_linear", gone)
    assert not products._gives_right_products()


@pytest.mark.parametrize("wrong", ["values", "precision", "type", "shape"])
def test_an_entry_that_multiplies_wrongly_is_not_used(monkeypatch, wrong):
    def linear(x, y, bias):
        if wrong == "precision":
            x, y = x.bfloat16().float(), y.bfloat16().float()
        right = torch.addmm(bias if wrong != "values" else -bias, x, y.T)
        return {"type": right.double(), "shape": right.T}.get(wrong, right)

    monkeypatch.setattr(products, "_linear", linear)
    assert not products._gives_right_products()


def test_the_choice_hangs_on_the_processor(monkeypatch):
    capability = torch.backends.cpu
    for maker, instructions in itertools.product(
        ["GenuineIntel", "AuthenticAMD"], ["AVX2", "AVX512", "DEFAULT"]
    ):
        monkeypatch.setattr(products, "_maker", lambda maker=maker: maker)
        monkeypatch.setattr(capability, "get_cpu_capability", lambda name=instructions: name)
        expected = (maker, instructions) == ("AuthenticAMD", "AVX512")
        assert products._prefers_onednn() == (expected and torch.backends.mkldnn.is_available())
