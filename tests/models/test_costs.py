from __future__ import annotations

import subprocess
import sys

import pytest

from habitus.models import Usage
from habitus.models.costs import Price, cost, dollars, price_of


def test_a_declared_price_comes_before_the_list() -> None:
    assert price_of("openai/gpt-5-mini", {"input": 1, "output": 8, "cached": 0.1}) == Price(1.0, 8.0, 0.1)


def test_without_a_declared_cached_price_cached_tokens_cost_what_others_do() -> None:
    assert price_of("lab/llama-70b", {"input": 0.5, "output": 1, "cached": None}) == Price(0.5, 1.0, 0.5)


@pytest.mark.parametrize(
    "name",
    [
        "openai/gpt-5-mini",
        "openai/gpt-5-mini-2025-08-07",
        "anthropic/claude-sonnet-4-5",
        "openrouter/openai/gpt-5-mini",
        "google/gemini-2.5-flash",
        "groq/llama-3.3-70b-versatile",
        "mistral/mistral-small-latest",
        "deepseek/deepseek-chat",
        "grok/grok-4",
        "inspect/anthropic/claude-sonnet-4-5",
    ],
)
def test_hosted_models_are_on_the_list(name: str) -> None:
    price = price_of(name)
    assert price is not None
    assert 0 < price.cached <= price.input < price.output


def test_an_embedding_model_costs_nothing_for_output() -> None:
    price = price_of("openai/text-embedding-3-small")
    assert price is not None
    assert (price.input > 0, price.output) == (True, 0.0)


@pytest.mark.parametrize(
    "name",
    [
        "exchange/gpt-5-mini",
        "local/qwen3-32b",
        "openai/our-finetune",
        "my-openai-proxy/gpt-5-mini",
        "gpt-5-mini",
        "",
    ],
)
def test_a_price_that_nobody_knows_is_unknown_and_not_nothing(name: str) -> None:
    assert price_of(name) is None
    assert cost(None, Usage(1000, 1000)) is None


def test_the_embedded_model_is_free_even_where_it_counts_no_tokens() -> None:
    price = price_of("simulated/careful")
    assert price is not None
    assert price.free
    assert cost(price, None) == 0.0


def test_cached_tokens_are_paid_at_their_own_price() -> None:
    price = Price(input=2.0, output=8.0, cached=0.5)
    assert cost(price, Usage(1_000_000, 500_000, cached_tokens=400_000)) == pytest.approx(1.2 + 0.2 + 4.0)


def test_a_call_without_counted_tokens_has_an_unknown_cost() -> None:
    assert cost(Price(1.0, 1.0, 1.0), None) is None


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (0.00001, "under $0.0001"),
        (0.0042, "$0.0042"),
        (0.05, "$0.05"),
        (12.3, "$12.30"),
        (999.99, "$999.99"),
        (1250.4, "$1,250"),
    ],
)
def test_amounts_are_written_as_people_write_them(amount: float | None, written: str) -> None:
    assert dollars(amount) == written


def test_looking_up_a_price_opens_no_connection_and_starts_no_thread() -> None:
    program = """
import socket, sys, threading
from habitus.models.costs import price_of
assert "genai_prices" not in sys.modules
def refused(*_):
    raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refused
assert price_of("openai/gpt-5-mini") is not None
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
