"""The site builds without a warning and asks nobody else for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: What a browser fetches by itself when it shows a page.
FETCHED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"(https?:)?//[^\"]*\"[^>]*>"
)
IN_STYLES = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


@pytest.mark.slow
def test_the_site_builds_and_stands_alone(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the documentation tools are not installed: make docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "docs", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        asked = [m[0] for m in FETCHED.finditer(page.read_text("utf-8")) if "canonical" not in m[0]]
        assert not asked, page.name
    for style in tmp_path.rglob("*.css"):
        assert not IN_STYLES.search(style.read_text("utf-8")), style.name
