"""`negawatt site`: read what a site is, run it at the fewest grams, and tell it."""

from negawatt.actions.site.read import describe, example

__all__ = ["describe", "example"]
