"""`python -m negawatt`, for where the `negawatt` script is not on the path."""

from __future__ import annotations

import sys

from negawatt.cli import main

if __name__ == "__main__":
    sys.exit(main())
