"""Print the tags of a built entry, and push what they name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import current_app
from flask import url_for
from markupsafe import Markup

from ._link import Link
from ._manifest import Entry
from ._manifest import File
from ._manifest import Manifest
from ._push import current_page
from ._push import push
from ._state import get_state
from .exceptions import SetupError


class Assets:
    """The files of an entry: tags in a template, links for ``hints``."""

    def __init__(self, entry: str, nonce: str | None) -> None:
        self.entry = entry
        self.nonce = nonce

    def links(self) -> Iterator[Link]:
        """Yield the links for the current request, without a nonce."""
        if get_state().config.vite_server is None:
            manifest = _manifest()
            # Without integrity: a 103 has little room, and the page checks it.
            for file, attributes in self._files(manifest):
                yield Link.make(_url(manifest, file), **attributes)

    def _files(self, manifest: Manifest) -> Iterator[tuple[File, dict[str, Any]]]:
        """Yield each file and the attributes of its link."""
        entry = manifest.entry(self.entry)
        script = "modulepreload" if entry.modules else "preload"
        # With CORS, as the tags: a browser may not reuse what it fetched without.
        for file in entry.styles:
            yield file, {"as_": "style", "crossorigin": True}
        for file in (*entry.scripts, *entry.imports):
            yield file, {"rel": script, "crossorigin": True}

    def __html__(self) -> str:
        """Return the tags in Vite's order, and push the links."""
        server = get_state().config.vite_server
        if server is not None:
            return Markup("\n").join(
                self._script(server + path, module=True)
                for path in ("@vite/client", self.entry)
            )
        manifest = _manifest()
        page = current_page()
        before = set(page.links)
        for file, attributes in self._files(manifest):
            url = _url(manifest, file)
            is_script = "rel" in attributes
            nonce = self.nonce if is_script else None
            push(url, **attributes, nonce=nonce, integrity=file.integrity)
        # Names that change with each build are declared, never learned.
        page.declared |= {page.links[text].key for text in page.links.keys() - before}
        return Markup("\n").join(self._tags(manifest, manifest.entry(self.entry)))

    __str__ = __html__

    def _tags(self, manifest: Manifest, entry: Entry) -> Iterator[Markup]:
        for file in entry.scripts:
            yield self._script(_url(manifest, file), file, module=entry.modules)
        linked = {"modulepreload": entry.imports, "stylesheet": entry.styles}
        for rel, files in linked.items():
            for file in files:
                yield Markup('<link rel="{}" crossorigin href="{}"{}>').format(
                    rel, _url(manifest, file), self._attributes(file)
                )

    def _script(self, url: str, file: File | None = None, *, module: bool) -> Markup:
        tag = Markup('<script type="module" crossorigin src="{}"{}></script>')
        if not module:
            tag = Markup('<script defer crossorigin src="{}"{}></script>')
        return tag.format(url, self._attributes(file))

    def _attributes(self, file: File | None) -> Markup:
        found = {"integrity": file.integrity if file else None, "nonce": self.nonce}
        pair = Markup(' {}="{}"')
        return Markup("").join(pair.format(*one) for one in found.items() if one[1])


def vite(entry: str, *, nonce: str | None = None) -> Assets:
    """Return the tags of an entry and push its files; also for :func:`hints`.

    :param entry: its source, such as ``"src/main.ts"``.
    :param nonce: of the page's content security policy.
    """
    return Assets(entry, nonce)


#: The same for the manifests of other tools.
bundle = vite


def _manifest() -> Manifest:
    manifest = get_state().manifest
    if manifest is None:
        raise SetupError(
            "no build is configured: set FIREHOSE_MANIFEST to the build's manifest, "
            "such as 'static/dist/.vite/manifest.json'"
        )
    if current_app.debug:
        manifest.reload()
    return manifest


def _url(manifest: Manifest, file: File) -> str:
    if file.path.startswith(("/", "http://", "https://")):
        return file.path
    if manifest.url is not None:
        return manifest.url + file.path
    return url_for("static", filename=manifest.static_prefix + file.path)
