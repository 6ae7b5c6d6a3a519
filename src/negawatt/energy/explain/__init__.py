"""Where the joules of a request go, part by part, and what a change would do to them. Pure.

serve (energy.serving)  ->  leaves  ->  groups and sums      (leaves)
->  slopes: one percent more of ...  (changes)
->  levers: what would be saved      (changes)
->  sentences                        (words)
"""

from __future__ import annotations

from negawatt.energy.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
