"""Where to run: pure functions from a job and places to the best of them, with its reason."""

from negawatt.decisions.where.choose import Planner, at_place, choose
from negawatt.decisions.where.moves import OneMove, Scanned, one_move, scan
from negawatt.decisions.where.records import Data, Place, Ranked, Siting

__all__ = [
    "Data",
    "OneMove",
    "Place",
    "Planner",
    "Ranked",
    "Scanned",
    "Siting",
    "at_place",
    "choose",
    "one_move",
    "scan",
]
