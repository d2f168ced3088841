"""The five packages, as the tests of all of them know them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import Field
from dataclasses import dataclass
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from flask import Flask


ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Package:
    """A package, as the contract needs to know it."""

    name: str
    extension: str
    dependencies: frozenset[str]
    #: A use of the extension that needs an app on which it is set up.
    use: Callable[[Any], object]
    commands: bool = True
    #: Options of the constructor that the package of the same name took by place.
    positional: frozenset[str] = frozenset()
    #: URLs without a login, which are no secrets.
    public_urls: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Its key in ``app.extensions``, and the name of its commands."""
        return self.name.removeprefix("flask_")

    @property
    def prefix(self) -> str:
        """The prefix of its configuration keys."""
        return f"{self.key.upper()}_"

    @property
    def directory(self) -> Path:
        """The directory of its distribution."""
        return ROOT / "packages" / self.name.replace("_", "-")

    @property
    def source(self) -> Path:
        """The directory of its modules."""
        return self.directory / "src" / self.name

    @property
    def modules(self) -> list[Path]:
        """Its source files."""
        return sorted(self.source.rglob("*.py"))

    @cached_property
    def module(self) -> ModuleType:
        """The imported package."""
        return importlib.import_module(self.name)

    @property
    def readme(self) -> str:
        """Its README."""
        return (self.directory / "README.md").read_text()

    def page(self, name: str) -> str:
        """Return a page of its part of the site."""
        return (ROOT / "docs" / self.directory.name / f"{name}.md").read_text()

    @property
    def config(self) -> Any:
        """The class of its configuration."""
        return importlib.import_module(f"{self.name}.config").Config

    @property
    def config_fields(self) -> dict[str, Field[Any]]:
        """The fields of its ``Config`` that come from ``app.config``, by key."""
        return {
            self.prefix + field.name.upper(): field
            for field in fields(self.config)
            if field.metadata.get("read", field.metadata.get("config", True))
        }

    def create(self, *apps: Flask) -> Any:
        """Make the extension and set it up on apps."""
        extension = getattr(self.module, self.extension)()
        for app in apps:
            extension.init_app(app)
        return extension


def push_a_link(_: object) -> None:
    """Push a link in the current request."""
    importlib.import_module("flask_firehose").push("/style.css")


FLASK = frozenset({"flask", "werkzeug"})
PACKAGES = (
    Package(
        "flask_kaccel",
        "Kaccel",
        FLASK | {"itsdangerous"},
        lambda it: it.send_file(__file__),
    ),
    Package(
        "flask_firehose",
        "Firehose",
        FLASK,
        push_a_link,
        positional=frozenset({"connector"}),
        public_urls=frozenset({"FIREHOSE_MANIFEST_URL"}),
    ),
    Package(
        "flask_store",
        "Store",
        FLASK | {"shortuuid"},
        lambda it: it.Provider(),
        public_urls=frozenset({"STORE_S3_ENDPOINT_URL"}),
    ),
    Package(
        "flask_webcache", "WebCache", FLASK | {"cachelib"}, lambda it: it.purge("/")
    ),
    Package(
        "flask_streaming",
        "Streaming",
        FLASK,
        lambda it: it.publish("channel", "data"),
    ),
)
