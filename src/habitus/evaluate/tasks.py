"""What Inspect finds of habitus: its tasks, its model provider and its sandbox."""

from __future__ import annotations

from habitus.evaluate.knowledge import knowledge
from habitus.evaluate.provider import HabitusAPI

__all__ = ["HabitusAPI", "knowledge"]
