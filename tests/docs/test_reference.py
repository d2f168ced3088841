"""The reference has every public name, and every configuration key as it is."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import zlib
from dataclasses import fields
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
SITE = ROOT / "dist" / "docs"
PACKAGES = ("kaccel", "firehose", "store", "webcache", "streaming")
#: Where names are public besides the package itself.
MODULES = {
    "flask_kaccel.testing": ["assert_sends"],
    "flask_store.sqlalchemy": ["FlaskStoreType", "attach"],
    "flask_store.stores": ["BaseStore"],
    "flask_store.stores.local": ["LocalStore"],
    "flask_store.stores.memory": ["MemoryStore"],
    "flask_store.stores.obstore": ["ObjectStore"],
    "flask_store.stores.s3": ["S3GeventStore", "S3Store"],
    "flask_store.testing": ["ProviderContract"],
    "flask_webcache.modifiers": ["cache_control", "cache_for"],
    "flask_webcache.recache": [
        "make_celery_dispatcher",
        "make_process_dispatcher",
        "make_rq_dispatcher",
        "make_thread_dispatcher",
        "run_by_name",
    ],
    "flask_webcache.storage": ["Config", "Metadata", "Retrieval", "Store"],
    "flask_webcache.validation": ["Validation"],
}
#: The methods of these are documented with them.
CLASSES = (
    "flask_kaccel.Kaccel",
    "flask_firehose.Connector",
    "flask_store.FileWrapper",
    "flask_store.Store",
    "flask_store.stores.BaseStore",
    "flask_streaming.Streaming",
    "flask_webcache.WebCache",
    "flask_webcache.storage.Retrieval",
    "flask_webcache.storage.Store",
    "flask_webcache.validation.Validation",
)


def public_names() -> list[str]:
    """Return every name that somebody may import, with its module."""
    names = []
    for package in PACKAGES:
        module = importlib.import_module(f"flask_{package}")
        names += [f"flask_{package}.{name}" for name in module.__all__]
    for path, members in MODULES.items():
        names += [f"{path}.{name}" for name in members]
    return names


def method_names() -> list[str]:
    """Return the public methods of the classes in ``CLASSES``."""
    names = []
    for path in CLASSES:
        module, _, name = path.rpartition(".")
        found = vars(getattr(importlib.import_module(module), name))
        names += [
            f"{path}.{member}"
            for member, value in found.items()
            if not member.startswith("_") and inspect.getdoc(value)
            if inspect.isfunction(value) or isinstance(value, property)
        ]
    return names


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
