"""The believable world that the embedded model lives in, and what it can do there."""

from habitus.models.world.people import plain_text

__all__ = ["plain_text"]
