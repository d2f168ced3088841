"""The tests of the site, which ``nox -s docs`` runs once it has built it."""

from __future__ import annotations

import importlib.util


# Other sessions have neither Sphinx nor a site.
collect_ignore_glob = [] if importlib.util.find_spec("sphinx") else ["test_*.py"]
