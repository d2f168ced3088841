"""Manifests of real builds, and what a browser does with the tags."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from flask import Flask
from flask import render_template_string

import harness
from flask_firehose import Firehose


SOURCES = {
    "src/main.ts": (
        "import { shared } from './shared';\nimport './main.css';\n"
        "const title: string = shared();\ndocument.title = title;\n"
        "if (title === 'never') import('./lazy');\n"
    ),
    "src/other.ts": "import { shared } from './shared';\ndocument.title = shared();\n",
    "src/shared.ts": (
        "import { dep } from './dep';\nimport './shared.css';\n"
        "export const shared = (): string => 'built ' + dep();\n"
    ),
    "src/dep.ts": "export const dep = (): string => 'here'.repeat(2);\n",
    "src/third.ts": "import { dep } from './dep';\nconsole.log(dep());\n",
    "src/lazy.ts": "console.log('lazy');\n",
    "src/main.css": ".main { color: green }\n",
    "src/shared.css": ".shared { color: green }\n",
    "src/print.css": ".print { color: black }\n",
    "package.json": '{"type": "module"}\n',
}
VITE = """\
export default {
  base: "/static/dist/",
  logLevel: "warn",
  build: {
    manifest: true, outDir: "static/dist", assetsInlineLimit: 0,
    rollupOptions: {
      input: ["src/main.ts", "src/other.ts", "src/third.ts", "src/print.css"],
    },
  },
}
"""


WEBPACK = """\
import webpack from "webpack"
import { WebpackAssetsManifest } from "webpack-assets-manifest"
import { WebpackManifestPlugin } from "webpack-manifest-plugin"

const build = (name, plugin, optimization) => ({
  mode: "production",
  entry: { main: "./src/main.js", other: "./src/other.js" },
  experiments: { css: true },
  module: { rules: [{ resolve: { fullySpecified: false } }] },
  optimization,
  output: {
    path: `${process.cwd()}/static/${name}`,
    publicPath: `/static/${name}/`,
    filename: "[name].[contenthash].js",
    cssFilename: "[name].[contenthash].css",
  },
  plugins: [plugin],
})
const options = {
  output: "manifest.json", entrypoints: true, publicPath: true,
  integrity: true, integrityHashes: ["sha256"],
}
const whole = {}
const split = {
  runtimeChunk: "single",
  splitChunks: { chunks: "all", minSize: 0 },
}
webpack([
  build("flat", new WebpackManifestPlugin(), whole),
  build("split", new WebpackAssetsManifest(options), split),
], (error, stats) => {
  if (error || stats.hasErrors()) throw error ?? stats.toString()
})
"""
#: The entry's shared module, its style sheet and the entry itself, where split.
WEBPACK_FILES = {"flat": 2, "split": 5}


@pytest.fixture(scope="module")
def webpack_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app's folder, built by webpack for two plugins."""
    modules = harness.node_packages(
        "webpack@5.112.2", "webpack-manifest-plugin@6.0.1",
        "webpack-assets-manifest@6.5.2",
    )  # fmt: skip
    project = tmp_path_factory.mktemp("webpack")
    (project / "src").mkdir()
    for name, text in SOURCES.items():
        # These types are all that it would need a loader for.
        plain = text.replace(": string", "")
        (project / name.replace(".ts", ".js")).write_text(plain)
    (project / "build.mjs").write_text(WEBPACK)
    (project / "node_modules").symlink_to(modules / "node_modules")
    node = harness.require("node", "apt-get install nodejs")
    subprocess.run([node, "build.mjs"], cwd=project, check=True, timeout=120)
    return project


@pytest.mark.parametrize("shape", WEBPACK_FILES)
def test_every_file_of_webpack(webpack_project: Path, shape: str) -> None:
    """An entry of webpack names its files, with integrity where the plugin has it."""
    manifest = f"static/{shape}/manifest.json"
    client = make_app(webpack_project, manifest).test_client()
    entry = "main.js" if shape == "flat" else "main"
    response = client.get(f"/{entry}")
    tags = re.findall(r'(?:src|href)="([^"]+)"([^>]*)', response.text)
    assert len(tags) == WEBPACK_FILES[shape]
    linked = re.findall(r"<([^>]+)>", response.headers["Link"])
    assert sorted(linked) == sorted(url for url, _ in tags)
    assert 'type="module"' not in response.text
    for url, attributes in tags:
        with client.get(url) as answer:
            assert answer.status_code == 200
            assert "lazy" not in answer.get_data(as_text=True)
        assert ("integrity=" in attributes) == (shape == "split")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app's folder, built by Vite and by esbuild."""
    modules = harness.node_packages("vite@8.3.8", "esbuild@0.28.2")
    project = tmp_path_factory.mktemp("project")
    for name, text in {**SOURCES, "vite.config.js": VITE}.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    (project / "node_modules").symlink_to(modules / "node_modules")
    esbuild = [
        "src/main.ts", "src/other.ts", "src/third.ts", "--bundle", "--splitting",
        "--format=esm", "--outdir=static/esbuild", "--entry-names=[name]-[hash]",
        "--metafile=static/esbuild/meta.json", "--log-level=error",
    ]  # fmt: skip
    for command in (["vite", "build"], ["esbuild", *esbuild]):
        program = modules / "node_modules/.bin" / command[0]
        subprocess.run([program, *command[1:]], cwd=project, check=True, timeout=120)
    return project


def make_app(project: Path, manifest: str, **config: object) -> Flask:
    """Return an app with the build."""
    app = Flask(__name__, root_path=str(project), static_folder="static")
    app.config.update(FIREHOSE_MANIFEST=manifest, **config)
    Firehose(app)

    @app.get("/<path:entry>")
    def page(entry: str) -> str:
        return render_template_string(
            "<!doctype html>{{ vite(entry, nonce=nonce) }}", entry=entry, nonce=None
        )

    return app


MANIFESTS = {
    "vite": "static/dist/.vite/manifest.json",
    "esbuild": "static/esbuild/meta.json",
}


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_every_file(project: Path, manifest: str) -> None:
    """Every file in the tags and the header exists, once, and none is missing."""
    client = make_app(project, manifest).test_client()
    response = client.get("/src/main.ts")
    tags = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert len(tags) == len(set(tags)) >= 3
    linked = re.findall(r"<([^>]+)>", response.headers["Link"])
    assert sorted(linked) == sorted(tags)
    assert "lazy" not in response.text
    # Everything that the scripts import is named, also at the second level.
    for url in tags:
        with client.get(url) as answer:
            assert answer.status_code == 200
            for name in re.findall(
                r'from\s*"\./([^"]+)"', answer.get_data(as_text=True)
            ):
                assert any(tag.endswith(name) for tag in tags)


def test_style_sheet_alone(project: Path) -> None:
    """An entry that is a style sheet has no script."""
    client = make_app(project, MANIFESTS["vite"]).test_client()
    text = client.get("/src/print.css").text
    assert re.search(r'<link rel="stylesheet" crossorigin href="/static/dist/', text)
    assert "<script" not in text


def test_browser(project: Path, tmp_path: Path) -> None:
    """Chromium runs the page under a strict policy, with integrity, and once each."""
    file = project / "built.py"
    manifest = json.loads((project / MANIFESTS["vite"]).read_text())
    for record in manifest.values():
        record["integrity"] = integrity(project / "static/dist" / record["file"])
    (project / "static/dist/.vite/checked.json").write_text(json.dumps(manifest))
    file.write_text(BUILT)
    with (
        harness.gunicorn(file, worker="gthread") as server,
        harness.browser() as chromium,
    ):
        page = chromium.new_page()
        errors: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(server.url)
        page.wait_for_function("document.title === 'built herehere'")
        assert errors == []
        assert len(requests) == len(set(requests)) >= 4


def integrity(file: Path) -> str:
    """Return the integrity of a file, as a plugin of Vite writes it."""
    openssl = harness.require("openssl", "apt-get install openssl")
    digest = subprocess.run(
        f"{openssl} dgst -sha384 -binary '{file}' | {openssl} base64 -A",
        shell=True, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return f"sha384-{digest}"


BUILT = """\
from flask import Flask, make_response, render_template_string
from flask_firehose import Firehose, hints, vite

app = Flask(__name__)
app.config["FIREHOSE_MANIFEST"] = "static/dist/.vite/checked.json"
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
Firehose(app)


@app.get("/")
@hints(vite("src/main.ts"))
def page():
    body = render_template_string(
        "<!doctype html><link rel=icon href='data:,'>"
        "{{ vite('src/main.ts', nonce='r4nd0m') }}"
    )
    assert body.count("integrity=") >= 3, body
    response = make_response(body)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; img-src data:; style-src 'self'; "
        "script-src 'nonce-r4nd0m' 'strict-dynamic'"
    )
    return response
"""
