"""The app's static files, found by their URLs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flask import Flask
from werkzeug.security import safe_join


@dataclass(frozen=True, slots=True)
class _Folder:
    prefix: str
    path: str
    owner: Any  # an app or a blueprint


class StaticFiles:
    """The files in the static folders of an app and its blueprints."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        # The same few URLs over and over; the bound is for made-up ones.
        self.max_age = lru_cache(maxsize=1024)(self._max_age)

    def _max_age(self, url: str, mount: str) -> int | None:
        """Return for how many seconds browsers keep a file; None if it is none.

        :param mount: where the app is mounted, without a trailing slash.
        """
        path = unquote(url.partition("?")[0])
        for folder in self._folders():
            if path.startswith(mount + folder.prefix):
                name = path.removeprefix(mount + folder.prefix)
                file = safe_join(folder.path, name)
                if file is not None and Path(file).is_file():
                    with self._app.app_context():
                        return folder.owner.get_send_file_max_age(name) or 0
        return None

    def _folders(self) -> Iterator[_Folder]:
        owners: dict[str, Any] = {"static": self._app}
        for name, blueprint in self._app.blueprints.items():
            owners[f"{name}.static"] = blueprint
        for endpoint, owner in owners.items():
            if owner.static_folder is None or endpoint not in self._app.view_functions:
                continue
            for rule in self._app.url_map.iter_rules(endpoint):
                prefix, _, rest = rule.rule.partition("<path:filename>")
                # A variable in the prefix may hold a tenant's or a user's name.
                if not rest and "<" not in prefix:
                    yield _Folder(prefix, str(owner.static_folder), owner)

    def warning(self) -> str | None:
        """Return why hints at static files would gain nothing, if so."""
        if self._app.static_folder is None:
            return None
        with self._app.app_context():
            if self._app.get_send_file_max_age("main.css"):
                return None
        return (
            "static files have no max age, so browsers would fetch the files in a "
            "103 twice; early hints leave them out: set SEND_FILE_MAX_AGE_DEFAULT, "
            "or FIREHOSE_STATIC_FRESH if a proxy or middleware gives them one"
        )
