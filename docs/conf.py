"""How Sphinx builds the site. `make docs` runs it with warnings as errors."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstrings
import generate

project = "negawatt"
author = "The negawatt authors"
project_copyright = "the negawatt authors, Apache-2.0"
release = metadata.version("negawatt")

extensions = ["myst_nb"]
nb_execution_mode = "off"  # but where a page says otherwise
nb_execution_raise_on_error = True
nb_execution_timeout = 120  # [s]
myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_static"]
smartquotes = False  # it would make a dash of the two in --json

html_theme = "furo"  # brings no font and no script from elsewhere
html_title = f"negawatt {release}"
html_static_path = ["_static"]
html_css_files = ["negawatt.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1a7f37", "color-brand-content": "#1a7f37"},
    "dark_css_variables": {"color-brand-primary": "#56d364", "color-brand-content": "#56d364"},
}

# Too long and too often changed to be kept: written anew for every build.
generate.write(docstrings.PAGE, docstrings.page())
