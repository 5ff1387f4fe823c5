"""What Inspect finds of habitus: its tasks, its model provider and its sandbox."""

from __future__ import annotations

from habitus.evaluate.audit_agents import audit_agents
from habitus.evaluate.behaviour import behaviour
from habitus.evaluate.bubblewrap import BubblewrapSandboxEnvironment
from habitus.evaluate.coding import coding, swe_bench
from habitus.evaluate.constraints import constraints
from habitus.evaluate.delusion import delusion
from habitus.evaluate.knowledge import knowledge
from habitus.evaluate.misalignment import misalignment
from habitus.evaluate.overreach import overreach
from habitus.evaluate.provider import HabitusAPI
from habitus.evaluate.side_by_side import side_by_side

__all__ = [
    "BubblewrapSandboxEnvironment",
    "HabitusAPI",
    "audit_agents",
    "behaviour",
    "coding",
    "constraints",
    "delusion",
    "knowledge",
    "misalignment",
    "overreach",
    "side_by_side",
    "swe_bench",
]
