"""Prices in US dollars; a price that nobody knows stays unknown and is never counted as nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from habitus.models import Usage

_MILLION = 1_000_000
_CENT = 0.01
_SMALLEST = 0.0001
_HUNDREDS = 1000
_PROVIDERS = {
    "azureai": "azure",
    "bedrock": "aws",
    "gemini": "google",
    "grok": "x-ai",
    "moonshot": "moonshotai",
    "vertex": "google",
    "xai": "x-ai",
}
"""Other names for providers of the price list; every other provider goes by its own."""
_IN_BATCH = {"processing": "batch"}
"""How the price list calls batch jobs."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars per million tokens."""

    input: float
    output: float
    cached: float
    """Input tokens that the endpoint read from its cache."""

    @property
    def free(self) -> bool:
        """Whether no call can cost anything."""
        return not (self.input or self.output or self.cached)


def price_of(model_name: str, declared: Mapping[str, Any] | None = None, *, batch: bool = False) -> Price | None:
    """Return the price of a model called `provider/name`, live or in batch jobs, or None where nobody knows it.

    A declared price (`{input: 0.25, output: 2}`; `cached` is as `input` if not given) comes first, then the list that
    genai-prices carries, read from disk and never from the network. Where a price depends on the date or the hour it
    is the one of now; where it grows with the prompt it is that of the shortest prompts. What batch jobs cost must be
    said (`batch: 0.5` beside a declared price) or stand in the list: that they are cheaper is never assumed.
    """
    if declared is not None:
        return _declared(declared, batch=batch)
    provider, _, name = model_name.removeprefix("inspect/").partition("/")
    if provider == "simulated":
        return Price(0.0, 0.0, 0.0)
    return _listed(_PROVIDERS.get(provider, provider), name, batch=batch)


def cost(price: Price | None, usage: Usage | None) -> float | None:
    """Return the US dollars of one call, or None if its price or its tokens are unknown."""
    if price is not None and price.free:
        return 0.0
    if price is None or usage is None:
        return None
    fresh = usage.input_tokens - usage.cached_tokens
    paid = fresh * price.input + usage.cached_tokens * price.cached + usage.output_tokens * price.output
    return paid / _MILLION


def dollars(amount: float | None) -> str:
    """Return an amount as people write it: `$12.30`, `$0.0042`, `$1,250`, `$0`, or `unknown` for None."""
    if amount is None:
        return "unknown"
    if amount == 0:
        return "$0"
    if amount < _SMALLEST:
        return "under $0.0001"
    if amount < _CENT:
        return f"${amount:.4f}"
    return f"${amount:,.2f}" if amount < _HUNDREDS else f"${amount:,.0f}"


def dollars_in_all(calls: int, spent: float, unpriced: int) -> str:
    """Return what calls cost, as people write it, when `unpriced` of them have a price that nobody knows."""
    if unpriced and unpriced == calls:
        return "unknown"
    return dollars(spent) + (f" + {unpriced:,} calls of unknown price" if unpriced else "")


def _declared(declared: Mapping[str, Any], *, batch: bool) -> Price | None:
    cached = declared.get("cached")
    price = Price(declared["input"], declared["output"], declared["input"] if cached is None else cached)
    if not batch or price.free:
        return price
    share = declared.get("batch")
    return None if share is None else Price(price.input * share, price.output * share, price.cached * share)


def _listed(provider_id: str, name: str, *, batch: bool) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot  # takes 0.15 s

    snapshot = get_snapshot()
    # by exact id: the list's own matching takes any provider with "openai" in its name for OpenAI
    if all(provider.id != provider_id for provider in snapshot.providers):
        return None
    try:
        _, model = snapshot.find_provider_model(name, None, provider_id, None)
    except LookupError:
        return None
    now = datetime.now(tz=UTC)
    if batch and not any(_is_batch(variant, now) for variant in getattr(model, "price_variants", None) or ()):
        return None
    found = model.get_prices(now, _IN_BATCH) if batch else model.get_prices(now)
    paid_in, paid_out, paid_cached = (
        _base(getattr(found, key)) for key in ("input_mtok", "output_mtok", "cache_read_mtok")
    )
    if paid_out is None and "embed" in model.id:
        paid_out = 0.0
    if paid_in is None or paid_out is None:
        return None
    return Price(paid_in, paid_out, paid_in if paid_cached is None else paid_cached)


def _is_batch(variant: Any, now: datetime) -> bool:
    """Tell whether a price is that of batch jobs, and in force."""
    return variant.when == _IN_BATCH and (variant.constraint is None or variant.constraint.active(now))


def _base(price: Any) -> float | None:
    """Return a price per million tokens, that of the lowest tier where there are several."""
    amount: Decimal | None = getattr(price, "base", price)
    return None if amount is None else float(amount)
