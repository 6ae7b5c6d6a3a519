"""`negawatt prune`: fewer channels and blocks, taught again by the base."""
