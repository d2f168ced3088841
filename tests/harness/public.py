"""The names that users of the five packages import and call."""

from __future__ import annotations

import importlib
import inspect


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
