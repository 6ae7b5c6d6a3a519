"""What a language model consists of, as far as its energy goes: matrices, caches and sizes.

An `Anatomy` holds no weights. It is read from a configuration (`energy.configs`), or taken from a
loaded module by another room.

    matrices × tokens  -> operations           (energy.workload)
    matrices × bits    -> bytes of weights
    caches × context   -> bytes of context
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Family = Literal["decoder", "encoder"]
Role = Literal["attention", "ffn", "expert", "router", "state", "head", "embedding"]

#: Layer number of what stands before or behind the layers.
OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weights that are multiplied in one place, or many alike in one layer.

    Args:
        name: Where it stands, such as `attention` or `experts`.
        layer: Number of the layer, or `OUTSIDE`.
        role: What it does.
        values: Weights stored, those of all experts together.
        used: Weights that one token is multiplied with; 0 for a table that is looked up.
        looked_up: Values of a table that one token reads.
    """

    name: str
    layer: int
    role: Role
    values: float
    used: float
    looked_up: float = 0.0


@dataclass(frozen=True, slots=True)
class Cache:
    """What one layer keeps of the text.

    Args:
        layer: Number of the layer.
        per_token: Values kept of each token: keys and values, or what they are made from.
        window: Tokens kept at most; infinite when all are.
        state: Values of a state that does not grow with the text, read and written at each step.
        scored: Multiplications of one token with one that is kept, over heads: scores and sums.
    """

    layer: int
    per_token: float
    window: float = math.inf
    state: float = 0.0
    scored: float = 0.0


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A model without its weights.

    Args:
        name: As the user names it.
        architecture: Class or type named in its configuration.
        family: "decoder" reads and writes; "encoder" reads whole texts.
        hidden: Width between layers.
        layers: How many there are.
        vocabulary: Entries of the token table.
        matrices: Every matrix, in execution order.
        caches: One per layer that keeps something.
        experts: Experts of a layer that has some, 1 when none has.
        experts_used: How many of them a token passes.
        others: Values that belong to no matrix: norms, biases, positions.
    """

    name: str
    architecture: str
    family: Family
    hidden: int
    layers: int
    vocabulary: int
    matrices: tuple[Matrix, ...]
    caches: tuple[Cache, ...]
    experts: int = 1
    experts_used: int = 1
    others: float = 0.0

    @property
    def parameters(self) -> float:
        """Values stored; a table that is also the head counts once."""
        return sum(one.values for one in self.matrices) + self.others

    @property
    def active(self) -> float:
        """Values that one token is multiplied with, or reads from a table."""
        return sum(one.used + one.looked_up for one in self.matrices) + self.others

    @property
    def expert_layers(self) -> int:
        """Layers whose tokens are sent to experts."""
        return len({one.layer for one in self.matrices if one.role == "expert"})

    @property
    def kept_per_token(self) -> float:
        """Values that all layers together keep of one token."""
        return sum(cache.per_token for cache in self.caches)
