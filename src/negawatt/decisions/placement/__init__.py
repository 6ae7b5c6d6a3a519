"""Which machine reads and which writes for whom: unlike devices together, as one exact choice. Pure.

classes + machines + models  ->  options: who reads, who writes, at what batch   (options)
options                      ->  shares and servers that cost least, by HiGHS    (program)
solved and restricted        ->  a placement, and why                            (placement)
"""

from __future__ import annotations

from negawatt.decisions.placement.placement import Placement, place
from negawatt.decisions.placement.records import Fleet, Link, Machine, Model, RequestClass, Site

__all__ = ["Fleet", "Link", "Machine", "Model", "Placement", "RequestClass", "Site", "place"]
