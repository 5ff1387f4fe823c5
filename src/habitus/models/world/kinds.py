"""The embedded model as one who knows what gets written down in a field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from habitus.models.world.people import load, values

if TYPE_CHECKING:
    from habitus.models.world.request import Request

_NUMBER = re.compile(r"Name (\d+) kinds of text")
_USUAL = 8
_LONGEST_NAME = 120


def genres(request: Request) -> dict[str, Any]:
    """Return as many kinds of text as were asked for, made for the field that the request names."""
    rng = request.stream("genres")
    field = request.after("Field: ") or "everyday life"
    asked = _NUMBER.search(request.frame)
    stock = load("kinds")
    found = []
    for one in rng.sample(stock, min(len(stock), int(asked[1]) if asked else _USUAL)):
        known = values(rng, field)
        known |= {f"{slot}_": known[slot].removeprefix("the ") for slot in ("place", "role")}
        low, high = one["words"]
        found.append(
            {
                "name": one["name"].format_map(known)[:_LONGEST_NAME],
                "layout": one["layout"],
                "shortest": max(20, round(low * rng.uniform(0.9, 1.2), -1)),
                "longest": round(high * rng.uniform(0.9, 1.1), -1),
            }
        )
    return {"genres": [{**one, **{key: int(one[key]) for key in ("shortest", "longest")}} for one in found]}
