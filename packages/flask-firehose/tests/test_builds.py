"""Manifests: what an entry needs, printed, pushed and declared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import render_template_string

from flask_firehose import ConfigError
from flask_firehose import Firehose
from flask_firehose import ManifestError
from flask_firehose import SetupError
from flask_firehose import hints
from flask_firehose import push
from flask_firehose import vite
from flask_firehose._manifest import Entry
from flask_firehose._manifest import File
from flask_firehose._manifest import parse


VITE: dict[str, Any] = {
    "src/main.ts": {
        "file": "assets/main-1.js", "isEntry": True, "imports": ["_shared-2.js"],
        "dynamicImports": ["src/lazy.ts"], "css": ["assets/main-3.css"],
        "assets": ["assets/logo-9.png"], "integrity": "sha384-main",
    },
    "_shared-2.js": {
        "file": "assets/shared-2.js", "imports": ["_dep-4.js"],
        "css": ["assets/shared-5.css"], "integrity": "sha384-shared",
    },
    # Chunks may import each other.
    "_dep-4.js": {"file": "assets/dep-4.js", "imports": ["_shared-2.js"]},
    "_shared-5.css": {"file": "assets/shared-5.css", "integrity": "sha384-css"},
    "src/lazy.ts": {"file": "assets/lazy-6.js", "isDynamicEntry": True},
    "src/print.css": {"file": "assets/print-7.css", "isEntry": True},
    "src/main-legacy.ts": {"file": "assets/main-legacy-8.js", "isEntry": True},
}  # fmt: skip
ESBUILD = {
    "outputs": {
        "app/static/dist/main-1.js": {
            "entryPoint": "src/main.ts", "cssBundle": "app/static/dist/main-2.css",
            "imports": [
                {"path": "app/static/dist/chunk-3.js", "kind": "import-statement"},
                {"path": "app/static/dist/lazy-4.js", "kind": "dynamic-import"},
            ],
        },
        "app/static/dist/chunk-3.js": {"imports": []},
        "app/static/dist/lazy-4.js": {"imports": []},
        "app/static/dist/print-5.css": {"entryPoint": "src/print.css"},
    }
}  # fmt: skip
FLAT = {"main.js": "/b/main-1.js", "main.css": "/b/main-2.css", "logo.png": "/b/l.png"}
ENTRYPOINTS = {
    "entrypoints": {
        "main": {"js": ["/b/runtime.js", "/b/main.js"], "css": ["/b/main.css"]},
        "other": {"assets": {"js": ["/b/other.js"]}},
    },
    "integrity": {"/b/main.js": "sha384-main"},
}
#: A manifest and what one of its entries needs.
SHAPES: dict[str, tuple[dict[str, Any], str, Entry]] = {
    "vite": (
        VITE,
        "src/main.ts",
        Entry(
            (File("assets/main-1.js", "sha384-main"),),
            (File("assets/shared-2.js", "sha384-shared"), File("assets/dep-4.js")),
            (File("assets/shared-5.css", "sha384-css"), File("assets/main-3.css")),
        ),
    ),
    "vite, style sheet": (
        VITE,
        "src/print.css",
        Entry(styles=(File("assets/print-7.css"),)),
    ),
    "vite, one style sheet for all": (
        {
            "style.css": {"file": "assets/style-1.css"},
            "a.ts": {"file": "assets/a-2.js", "isEntry": True},
        },
        "a.ts",
        Entry((File("assets/a-2.js"),), (), (File("assets/style-1.css"),)),
    ),
    "esbuild": (
        ESBUILD,
        "src/main.ts",
        Entry((File("main-1.js"),), (File("chunk-3.js"),), (File("main-2.css"),)),
    ),
    "esbuild, style sheet": (
        ESBUILD,
        "src/print.css",
        Entry(styles=(File("print-5.css"),)),
    ),
    "flat": (
        FLAT,
        "main.js",
        Entry((File("/b/main-1.js"),), (), (File("/b/main-2.css"),), modules=False),
    ),
    "flat, style sheet": (FLAT, "main.css", Entry(styles=(File("/b/main-2.css"),))),
    "entrypoints": (
        ENTRYPOINTS,
        "main",
        Entry(
            (File("/b/runtime.js"), File("/b/main.js", "sha384-main")),
            (),
            (File("/b/main.css"),),
            modules=False,
        ),
    ),
    "entrypoints with assets": (
        ENTRYPOINTS,
        "other",
        Entry((File("/b/other.js"),), modules=False),
    ),
}


@pytest.mark.parametrize(("data", "name", "entry"), SHAPES.values(), ids=SHAPES)
def test_shapes(data: dict[str, Any], name: str, entry: Entry) -> None:
    """Each tool's manifest says what an entry needs, style sheets in their order."""
    assert parse(data, Path("/srv/app/static/dist"))[name] == entry


def test_legacy() -> None:
    """Files for browsers without modules are not entries."""
    assert "src/main-legacy.ts" not in parse(VITE, Path())


MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    """Make an app with a manifest in its static folder."""

    def make(data: dict[str, Any] = VITE, **config: Any) -> Flask:
        manifest = tmp_path / "static/dist/.vite/manifest.json"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(data))
        app = Flask(__name__, root_path=str(tmp_path), static_folder="static")
        app.config.update(FIREHOSE_MANIFEST="static/dist/.vite/manifest.json", **config)
        Firehose(app)

        @app.get("/")
        def page() -> str:
            return render_template_string("{{ vite('src/main.ts') }}")

        @app.get("/nonce")
        @hints(vite("src/main.ts"))
        def with_nonce() -> str:
            return render_template_string("{{ vite('src/main.ts', nonce='<r4nd0m') }}")

        return app

    return make


def test_tags(make_app: MakeApp) -> None:
    """The tags are Vite's own, below where the app is mounted."""
    response = make_app().test_client().get("/", base_url="http://localhost/mounted")
    base = "/mounted/static/dist/assets"
    assert response.text.splitlines() == [
        f'<script type="module" crossorigin src="{base}/main-1.js" '
        'integrity="sha384-main"></script>',
        f'<link rel="modulepreload" crossorigin href="{base}/shared-2.js" '
        'integrity="sha384-shared">',
        f'<link rel="modulepreload" crossorigin href="{base}/dep-4.js">',
        f'<link rel="stylesheet" crossorigin href="{base}/shared-5.css" '
        'integrity="sha384-css">',
        f'<link rel="stylesheet" crossorigin href="{base}/main-3.css">',
    ]
    assert response.headers["Link"] == (
        f"<{base}/shared-5.css>; rel=preload; as=style; crossorigin; "
        "integrity=sha384-css, "
        f"<{base}/main-3.css>; rel=preload; as=style; crossorigin, "
        f"<{base}/main-1.js>; rel=modulepreload; crossorigin; "
        "integrity=sha384-main, "
        f"<{base}/shared-2.js>; rel=modulepreload; crossorigin; "
        "integrity=sha384-shared, "
        f"<{base}/dep-4.js>; rel=modulepreload; crossorigin"
    )


def test_nonce(make_app: MakeApp) -> None:
    """Tags have the nonce, escaped; links are declared without it, early."""
    sent: list[Any] = []
    app = make_app(FIREHOSE_EARLY_HINTS=True, FIREHOSE_STATIC_FRESH=True)
    response = app.test_client().get(
        "/nonce",
        headers={"Sec-Fetch-Mode": "navigate"},
        environ_overrides={"wsgi.early_hints": sent.append},
    )
    assert response.text.count(' nonce="&lt;r4nd0m"') == 5
    (((_, value),),) = sent
    assert value.count("rel=") == 5
    assert "nonce" not in value


def test_never_learned(make_app: MakeApp) -> None:
    """Names that change with each build are declared for every visitor."""
    app = make_app(FIREHOSE_EARLY_HINTS=True, FIREHOSE_STATIC_FRESH=True)
    build = Path(app.static_folder or "", "dist/assets")
    build.mkdir()
    for name in ("main-1.js", "main-3.css", "shared-5.css"):
        (build / name).touch()
    sent: list[Any] = []
    for number in range(12):
        response = app.test_client().get(
            "/",
            headers={"Sec-Fetch-Mode": "navigate", "User-Agent": str(number)},
            environ_overrides={"wsgi.early_hints": sent.append},
        )
        assert "main-3.css" in response.headers["Link"]
    assert sent == []


def test_other_place(make_app: MakeApp) -> None:
    """A build may be served from anywhere."""
    app = make_app(FIREHOSE_MANIFEST_URL="https://cdn.example/x/")
    assert (
        'src="https://cdn.example/x/assets/main-1.js"'
        in app.test_client().get("/").text
    )


def test_webpack(make_app: MakeApp) -> None:
    """Scripts that are not modules are deferred, and preloaded as scripts."""
    app = make_app(FLAT)
    view = lambda: render_template_string("{{ bundle('main.js') }}")  # noqa: E731
    app.add_url_rule("/view", "view", view)
    response = app.test_client().get("/view")
    assert '<script defer crossorigin src="/b/main-1.js"></script>' in response.text
    assert (
        "</b/main-1.js>; rel=preload; as=script; crossorigin"
        in response.headers["Link"]
    )


def test_development(make_app: MakeApp) -> None:
    """Vite's server serves everything while you develop, and nothing is pushed."""
    app = make_app(FIREHOSE_VITE_SERVER="http://localhost:5173/static/dist/")
    for path in ("/", "/nonce"):
        response = app.test_client().get(path)
        base = "http://localhost:5173/static/dist"
        assert f'src="{base}/@vite/client"' in response.text
        assert f'src="{base}/src/main.ts"' in response.text
        assert "Link" not in response.headers


def test_reload(make_app: MakeApp, tmp_path: Path) -> None:
    """A new build is seen in debug mode, and only there."""
    app = make_app()
    manifest = tmp_path / "static/dist/.vite/manifest.json"
    data = {"src/main.ts": {"file": "assets/new.js", "isEntry": True}}
    manifest.write_text(json.dumps(data))
    os.utime(manifest, (1, 1))
    assert "main-1.js" in app.test_client().get("/").text
    app.debug = True
    assert "new.js" in app.test_client().get("/").text


def test_unknown_entry(make_app: MakeApp) -> None:
    """An entry that the build lacks is named, with the nearest."""
    app = make_app()
    app.testing = True
    app.add_url_rule("/view", "view", lambda: str(vite("src/mian.ts")))
    with pytest.raises(
        ManifestError,
        match=r"'src/mian.ts' is not an entry of .*did you mean 'src/main.ts'\?",
    ):
        app.test_client().get("/view")


def test_no_build() -> None:
    """An app without a manifest is told to set one."""
    app = Flask(__name__)
    Firehose(app)
    with (
        app.test_request_context(),
        pytest.raises(SetupError, match="FIREHOSE_MANIFEST"),
    ):
        str(vite("src/main.ts"))


MANIFESTS = {
    "missing": (None, "it cannot be read .*run 'vite build' first"),
    "no JSON": ("<html>", "give a manifest of Vite, esbuild or webpack"),
    "no object": ("[]", "give a manifest of Vite, esbuild or webpack"),
    "other JSON": ('{"a": {"b": 1}}', "give a manifest of Vite, esbuild or webpack"),
}


@pytest.mark.parametrize(("text", "remedy"), MANIFESTS.values(), ids=MANIFESTS)
def test_bad_manifest(tmp_path: Path, text: str | None, remedy: str) -> None:
    """A manifest that cannot be used fails at start-up."""
    (tmp_path / "static").mkdir()
    if text is not None:
        (tmp_path / "static/manifest.json").write_text(text)
    app = Flask(__name__, root_path=str(tmp_path))
    app.config["FIREHOSE_MANIFEST"] = "static/manifest.json"
    with pytest.raises(ConfigError, match=f"^FIREHOSE_MANIFEST is .*: {remedy}"):
        Firehose(app)


def test_outside_the_static_folder(tmp_path: Path) -> None:
    """A build whose files are not served is refused."""
    (tmp_path / "manifest.json").write_text("{}")
    app = Flask(__name__, root_path=str(tmp_path))
    app.config["FIREHOSE_MANIFEST"] = "manifest.json"
    with pytest.raises(ConfigError, match="set FIREHOSE_MANIFEST_URL"):
        Firehose(app)


def test_late(make_app: MakeApp) -> None:
    """In a streamed page the tags are printed, and nothing breaks."""
    app = make_app()

    @app.after_request
    def after(response: Any) -> Any:
        push("/late.css")
        response.set_data(str(vite("src/main.ts")))
        return response

    assert "main-1.js" in app.test_client().get("/").text
