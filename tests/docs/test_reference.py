"""The reference has every public name, and every configuration key as it is."""

from __future__ import annotations

import importlib
import json
import re
import zlib
from dataclasses import fields
from pathlib import Path

import pytest

from harness.public import method_names
from harness.public import public_names


ROOT = Path(__file__).parents[2]
SITE = ROOT / "dist" / "docs"
PACKAGES = ("kaccel", "firehose", "store", "webcache", "streaming")


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """The names that the built site documents."""
    *_, packed = (SITE / "objects.inv").read_bytes().split(b"\n", 4)
    inventory = zlib.decompress(packed).decode()
    return set(re.findall(r"^(\S+) py:", inventory, re.MULTILINE))


def test_public_names(documented: set[str]) -> None:
    """Every name that can be imported from a public module has an entry."""
    assert [name for name in public_names() if name not in documented] == []


def test_methods(documented: set[str]) -> None:
    """Every public method of what callers hold has an entry."""
    names = method_names()
    assert len(names) > 50
    assert [name for name in names if name not in documented] == []


def test_search_index() -> None:
    """The search finds every public name and method."""
    text = (SITE / "searchindex.js").read_text()
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found = {
        f"{prefix}.{entry[-1]}"
        for prefix, entries in index["objects"].items()
        for entry in entries
    }
    names = public_names() + method_names()
    assert [name for name in names if name not in found] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_configuration(package: str) -> None:
    """The page has the table that the declarations make, or at least every key."""
    page = (ROOT / "docs" / f"flask-{package}" / "configuration.md").read_text()
    config = importlib.import_module(f"flask_{package}.config").Config
    if hasattr(config, "table"):
        assert config.table() in page
    else:
        keys = {
            f"{package.upper()}_{field.name.upper()}"
            for field in fields(config)
            if field.metadata.get("config", True)
        }
        assert keys - set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == set()
