"""The manifest of a build: which files an entry needs.

Three tools, three shapes, one answer (:class:`Entry`):

* **Vite**: records by source path. ``imports`` names records, ``css`` names files,
  both only those of the record itself, so that imports are followed to the end. Files
  are relative to the output directory.
* **esbuild** (``--metafile``): ``outputs`` by path, relative to where the build ran.
* **webpack** (webpack-manifest-plugin, or ``entrypoints`` as other plugins write
  them): URLs by name, without relations.

Style sheets of imports come before an entry's own, as later rules win. Imports may be
circular. ``dynamicImports`` are not needed before the page, ``*-legacy`` records are
for browsers without modules, ``assets`` are found by the style sheets.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any
from typing import Self

from .config import Config
from .exceptions import ConfigError
from .exceptions import ManifestError


@dataclass(frozen=True, slots=True)
class File:
    """A built file: its path below the output directory, or its URL."""

    path: str
    integrity: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """The files that a page with this entry needs.

    :param modules: whether the scripts are JavaScript modules.
    """

    scripts: tuple[File, ...] = ()
    imports: tuple[File, ...] = ()
    styles: tuple[File, ...] = ()
    modules: bool = True


Entries = Mapping[str, Entry]


class Manifest:
    """A manifest file, read at start-up.

    :param file: where it is.
    :param directory: the output directory.
    :param url: the URL of the output directory; None for the static folder.
    :param static_prefix: the output directory, relative to the static folder.
    """

    def __init__(self, file: Path, url: str | None, static_folder: str | None) -> None:
        self.file = file
        self.url = url
        hidden = file.parent.name == ".vite"
        self.directory = file.parent.parent if hidden else file.parent
        self.static_prefix = ""
        if url is None:
            folder = Path(static_folder or "/nonexistent").resolve()
            try:
                inside = self.directory.resolve().relative_to(folder)
            except ValueError:
                raise ConfigError(
                    "FIREHOSE_MANIFEST",
                    str(file),
                    "build into the static folder, or set FIREHOSE_MANIFEST_URL to "
                    "the URL of the output directory",
                ) from None
            self.static_prefix = "" if inside == Path() else f"{inside.as_posix()}/"
        self._stamp = 0
        self._entries: Entries = {}
        self.reload()

    @classmethod
    def of(cls, config: Config, root: str, static_folder: str | None) -> Self | None:
        """Return the configured manifest, if there is one to read."""
        if config.manifest is None or config.vite_server is not None:
            return None
        return cls(Path(root, config.manifest), config.manifest_url, static_folder)

    def reload(self) -> None:
        """Read the file again if it has changed.

        :raises ConfigError: it is missing or has an unknown shape.
        """
        try:
            stamp = self.file.stat().st_mtime_ns
            if stamp != self._stamp:
                data = json.loads(self.file.read_text(encoding="utf-8"))
                self._entries = parse(data, self.directory)
                self._stamp = stamp
        except OSError as error:
            remedy = f"it cannot be read ({error.strerror}): run 'vite build' first"
            raise ConfigError("FIREHOSE_MANIFEST", str(self.file), remedy) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            remedy = "give a manifest of Vite, esbuild or webpack"
            raise ConfigError("FIREHOSE_MANIFEST", str(self.file), remedy) from error

    def entry(self, name: str) -> Entry:
        """Return an entry.

        :raises ManifestError: there is no such entry.
        """
        try:
            return self._entries[name]
        except KeyError:
            near = get_close_matches(name, self._entries, 1, 0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ManifestError(name, str(self.file), hint) from None


def parse(data: Mapping[str, Any], directory: Path) -> Entries:
    """Return the entries of a manifest of any of the three tools."""
    if "outputs" in data:
        return dict(_esbuild(data["outputs"], directory))
    if "entrypoints" in data:
        return dict(_entrypoints(data))
    if all(isinstance(value, str) for value in data.values()):
        return dict(_flat(data))
    return dict(_vite(data))


def _vite(records: Mapping[str, Any]) -> Iterator[tuple[str, Entry]]:
    integrity = {one["file"]: one.get("integrity") for one in records.values()}

    def files(paths: Iterable[str]) -> tuple[File, ...]:
        return tuple(File(path, integrity.get(path)) for path in dict.fromkeys(paths))

    # Without code splitting, one style sheet belongs to every entry.
    whole = [
        one["file"] for key, one in records.items()
        if key == "style.css" and not one.get("isEntry")
    ]  # fmt: skip
    for key, record in records.items():
        if not record.get("isEntry") or "-legacy" in record["file"]:
            continue
        if record["file"].endswith(".css"):
            yield key, Entry(styles=files([record["file"]]))
            continue
        chunks = [records[one] for one in _reached(key, _imports_of(records))]
        yield (
            key,
            Entry(
                scripts=files([record["file"]]),
                imports=files(one["file"] for one in chunks[1:]),
                styles=files(
                    [css for one in reversed(chunks) for css in one.get("css", ())]
                    + whole
                ),
            ),
        )


def _imports_of(records: Mapping[str, Any]) -> Callable[[str], Iterable[str]]:
    return lambda key: records[key].get("imports", ())


def _reached(start: str, follow: Callable[[str], Iterable[str]]) -> list[str]:
    """Return all that is imported, directly or not, each before what it imports."""
    found: dict[str, None] = {}

    def visit(key: str, path: frozenset[str]) -> None:
        for one in follow(key):
            if one not in path and one not in found:
                visit(one, path | {one})
        found[key] = None

    visit(start, frozenset({start}))
    return list(reversed(found))


def _esbuild(outputs: Mapping[str, Any], root: Path) -> Iterator[tuple[str, Entry]]:
    def follow(path: str) -> list[str]:
        return [
            one["path"]
            for one in outputs[path].get("imports", ())
            if one["kind"] == "import-statement" and one["path"] in outputs
        ]

    def file(path: str) -> File:
        return File(_below(path, root))

    for path, record in outputs.items():
        entry = record.get("entryPoint")
        if entry is None:
            continue
        if path.endswith(".css"):
            yield entry, Entry(styles=(file(path),))
            continue
        styles = [record["cssBundle"]] if "cssBundle" in record else []
        yield (
            entry,
            Entry(
                scripts=(file(path),),
                imports=tuple(map(file, _reached(path, follow)[1:])),
                styles=tuple(map(file, styles)),
            ),
        )


def _below(path: str, directory: Path) -> str:
    """Return a path relative to the directory, wherever the build ran."""
    parts = PurePosixPath(path).parts
    for count in range(len(parts) - 1, 0, -1):
        if directory.parts[-count:] == parts[:count]:
            return "/".join(parts[count:])
    return path


def _entrypoints(data: Mapping[str, Any]) -> Iterator[tuple[str, Entry]]:
    # In a table of its own, or in a record for each file.
    integrity = data.get("integrity") or {
        one["src"]: one.get("integrity")
        for one in data.values()
        if isinstance(one, Mapping) and "src" in one
    }
    for name, record in data["entrypoints"].items():
        files = record.get("assets", record)
        scripts, styles = (
            tuple(File(url, integrity.get(url)) for url in files.get(kind, ()))
            for kind in ("js", "css")
        )
        yield name, Entry(scripts=scripts, styles=styles, modules=False)


def _flat(data: Mapping[str, str]) -> Iterator[tuple[str, Entry]]:
    for name, url in data.items():
        stem, _, kind = name.rpartition(".")
        if kind == "js":
            styles = [File(data[css]) for css in (f"{stem}.css",) if css in data]
            yield name, Entry((File(url),), (), tuple(styles), modules=False)
        elif kind == "css":
            yield name, Entry(styles=(File(url),))
