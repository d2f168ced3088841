"""Print the tags of a built entry, and push what they name."""

from __future__ import annotations

from collections.abc import Iterator

from flask import current_app
from flask import url_for
from markupsafe import Markup

from ._link import Link
from ._manifest import Entry
from ._manifest import File
from ._manifest import Manifest
from ._page import current_page
from ._state import get_state
from .exceptions import SetupError


class Assets:
    """The files of an entry: tags in a template, links for :func:`hints`."""

    def __init__(self, entry: str, nonce: str | None) -> None:
        self.entry = entry
        self.nonce = nonce

    def links(self) -> Iterator[Link]:
        """Yield the links for the current request, without a nonce."""
        if get_state().config.vite_server is None:
            manifest = _manifest()
            yield from self._links(manifest, manifest.entry(self.entry), None)

    def _links(
        self, manifest: Manifest, entry: Entry, nonce: str | None
    ) -> Iterator[Link]:
        # With CORS, as the tags: a browser may not reuse what it fetched without.
        for file in entry.styles:
            yield Link.make(_url(manifest, file), as_="style", crossorigin=True)
        rel = "modulepreload" if entry.modules else "preload"
        for file in (*entry.scripts, *entry.imports):
            yield Link.make(
                _url(manifest, file), rel=rel, crossorigin=True, nonce=nonce
            )

    def __html__(self) -> str:
        """Return the tags in Vite's order, and push the links."""
        server = get_state().config.vite_server
        if server is not None:
            return Markup("\n").join(
                self._script(server + path, module=True)
                for path in ("@vite/client", self.entry)
            )
        manifest = _manifest()
        entry = manifest.entry(self.entry)
        page = current_page()
        if not page.done:
            for link in self._links(manifest, entry, self.nonce):
                page.add(link, declared=True)
        return Markup("\n").join(self._tags(manifest, entry))

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
            "there is no build: set FIREHOSE_MANIFEST to its manifest, such as "
            "'static/dist/.vite/manifest.json'"
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
