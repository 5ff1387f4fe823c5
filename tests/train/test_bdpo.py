"""The loss alone, against the published values."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from habitus.train.bdpo import bdpo_loss, mixed, rejected_weight  # noqa: E402

BETA = 0.1


def of(chosen: float, rejected: float, mixture: float = 0.5) -> float:
    logratios = torch.tensor([chosen], dtype=torch.float64), torch.tensor([rejected], dtype=torch.float64)
    return bdpo_loss(*logratios, beta=BETA, mixture=mixture).item()


@pytest.mark.parametrize("mixture", [0.1, 0.5, 0.9, 1.0])
def test_before_the_first_step_the_loss_is_log_2(mixture: float) -> None:
    assert of(0, 0, mixture) == pytest.approx(math.log(2), abs=1e-12)


def test_pushing_down_the_rejected_answer_alone_gains_no_more_than_a_bound() -> None:
    assert of(0, -1e4) == pytest.approx(0.6591, abs=5e-5)
    assert of(0, -1e4) == pytest.approx(math.log1p(math.exp(BETA * math.log(0.5))), abs=1e-12)
    assert of(0, -1e4, mixture=1.0) == 0


def test_with_the_whole_mixture_it_is_dpo() -> None:
    a, b = torch.randn(2, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 20
    dpo = -torch.nn.functional.logsigmoid(BETA * (a - b))

    assert torch.equal(bdpo_loss(a, b, beta=BETA, mixture=1.0), dpo)


def test_gradients_are_those_of_the_formula() -> None:
    a = torch.tensor([1.5, -2.0, 0.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([-3.0, 0.7, 4.0], dtype=torch.float64, requires_grad=True)
    bdpo_loss(a, b, beta=BETA, mixture=0.5).sum().backward()
    z = BETA * (a - mixed(b, 0.5))
    pull = BETA * torch.sigmoid(-z)

    assert torch.allclose(a.grad, -pull, atol=1e-12)
    assert torch.allclose(b.grad, pull * rejected_weight(b, 0.5), atol=1e-12)


@pytest.mark.parametrize(("tokens", "weight"), [(50, 0.378), (300, 0.047), (1000, 5e-5)])
def test_on_long_answers_the_rejected_weight_vanishes(tokens: int, weight: float) -> None:
    found = rejected_weight(torch.tensor(-0.01 * tokens, dtype=torch.float64), 0.5).item()

    assert found == pytest.approx(weight, rel=0.1)


def test_losses_are_finite_however_far_the_policy_went() -> None:
    far = torch.tensor([-1e5, 0.0, 1e5])

    for a in far:
        assert torch.isfinite(bdpo_loss(a.expand(3), far, beta=BETA, mixture=0.5)).all()
