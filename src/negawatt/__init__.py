"""Green language models: fewer joules for the same work, and numbers that survive an audit.

    import negawatt

    with negawatt.measure("training") as m:
        train()
    print(m.energy)

Importing this package is light: `measure`, `optimize`, `predict` and the rest
are looked up on first use, and torch only when a model is touched.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negawatt.meters import measure as measure
    from negawatt.meters.tracking import callback as callback
    from negawatt.meters.tracking import load_ipython_extension as load_ipython_extension
    from negawatt.meters.tracking import tracker as tracker
    from negawatt.wiring import optimize as optimize
    from negawatt.wiring import predict as predict
    from negawatt.wiring.agree import agree as agree
    from negawatt.wiring.backtest import backtest as backtest
    from negawatt.wiring.design import design as design
    from negawatt.wiring.engines import engines as engines
    from negawatt.wiring.explain import explain as explain
    from negawatt.wiring.foretell import foretell as foretell
    from negawatt.wiring.place import place as place
    from negawatt.wiring.plan import plan as plan
    from negawatt.wiring.prune import prune as prune
    from negawatt.wiring.quantise import quantise as quantise
    from negawatt.wiring.site import site as site
    from negawatt.wiring.wait import clean as clean
    from negawatt.wiring.wait import wait_for_clean as wait_for_clean

    __version__: str

__all__ = [
    "__version__",
    "agree",
    "backtest",
    "callback",
    "clean",
    "design",
    "engines",
    "explain",
    "foretell",
    "measure",
    "optimize",
    "place",
    "plan",
    "predict",
    "prune",
    "quantise",
    "site",
    "tracker",
    "wait_for_clean",
]

_HOMES = MappingProxyType(
    {
        "agree": "negawatt.wiring.agree",
        "backtest": "negawatt.wiring.backtest",
        "callback": "negawatt.meters.tracking",
        "clean": "negawatt.wiring.wait",
        "design": "negawatt.wiring.design",
        "engines": "negawatt.wiring.engines",
        "explain": "negawatt.wiring.explain",
        "foretell": "negawatt.wiring.foretell",
        "load_ipython_extension": "negawatt.meters.tracking",  # %load_ext negawatt
        "measure": "negawatt.meters",
        "optimize": "negawatt.wiring",
        "place": "negawatt.wiring.place",
        "plan": "negawatt.wiring.plan",
        "predict": "negawatt.wiring",
        "prune": "negawatt.wiring.prune",
        "quantise": "negawatt.wiring.quantise",
        "site": "negawatt.wiring.site",
        "tracker": "negawatt.meters.tracking",
        "wait_for_clean": "negawatt.wiring.wait",
    }
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("negawatt")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'negawatt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
