"""The conventions that all five packages share, each tested on all five."""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
import tomllib
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint
from flask import Flask

import flask_firehose
import flask_streaming
from flask_webcache.modifiers import cache_control
from flask_webcache.modifiers import cache_for
from harness.packages import PACKAGES
from harness.packages import ROOT
from harness.packages import Package


OPTIONAL = {"boto3", "gevent", "orjson", "pymemcache", "redis", "sqlalchemy"}
KEYS = [
    pytest.param(package, key, id=key)
    for package in PACKAGES
    for key in package.config_fields
]


@pytest.fixture(params=PACKAGES, ids=lambda package: package.name)
def package(request: pytest.FixtureRequest) -> Package:
    """Each of the five packages."""
    value: Package = request.param
    return value


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """A fresh app, whose instance folder is temporary."""
    return Flask(__name__, instance_path=str(tmp_path / "instance"))


def run_python(code: str) -> str:
    """Run code in a new strict interpreter and return what it prints."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_star_import(package: Package) -> None:
    """``from flask_x import *`` gives exactly the sorted public names."""
    names: dict[str, object] = {}
    exec(f"from {package.name} import *", names)
    public = package.module.__all__
    assert list(public) == sorted(public)
    assert set(public) == names.keys() - {"__builtins__"}


def test_init_only_exports(package: Package) -> None:
    """The package's ``__init__`` holds imports and ``__all__``, nothing else."""
    tree = ast.parse(Path(str(package.module.__file__)).read_text())
    kinds = {type(node) for node in tree.body[1:]}
    assert kinds <= {ast.ImportFrom, ast.Assign}


def test_import_is_light(package: Package) -> None:
    """Importing a package loads no optional dependency and no sibling."""
    loaded = set(run_python(f"import {package.name}, sys; print(*sys.modules)").split())
    siblings = {other.name for other in PACKAGES} - {package.name}
    assert not loaded & (OPTIONAL | siblings)


def test_import_has_no_side_effects(package: Package) -> None:
    """Importing a package starts no thread and adds no log handler."""
    code = (
        f"import {package.name}, logging, threading; print(threading.active_count(), "
        f"len(logging.getLogger({package.name!r}).handlers + logging.root.handlers))"
    )
    assert run_python(code) == "1 0\n"


def imports_flask(node: ast.AST) -> bool:
    """Return whether code imports Flask when it runs, not only for its types."""
    match node:
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return False
        case ast.ImportFrom(module="flask") | ast.Import(names=[ast.alias("flask")]):
            return True
    return any(map(imports_flask, ast.iter_child_nodes(node)))


def test_rules_know_no_flask(package: Package) -> None:
    """Configuration and errors, and most other modules, do without Flask."""
    flask_modules = {
        path.relative_to(package.directory / "src" / package.name).as_posix()
        for path in package.modules
        if imports_flask(ast.parse(path.read_text()))
    }
    assert {"extension.py", "_extension.py"} & flask_modules
    assert not flask_modules & {"config.py", "exceptions.py", "__init__.py"}
    assert len(flask_modules) <= len(package.modules) / 2


def test_state_is_per_app(package: Package) -> None:
    """One extension object serves several apps, each with a state of its own."""
    one, two = Flask("one"), Flask("two")
    package.create(one, two)
    assert one.extensions[package.key] is not two.extensions[package.key]


def test_constructor_takes_app(package: Package, app: Flask) -> None:
    """``Ext(app)`` sets the extension up."""
    getattr(package.module, package.extension)(app)
    assert package.key in app.extensions


def test_second_init_app_is_refused(package: Package, app: Flask) -> None:
    """Setting up the same app twice is an error that says so."""
    extension = package.create(app)
    with pytest.raises(package.module.SetupError, match="already"):
        extension.init_app(app)
    with pytest.raises(package.module.SetupError, match="already"):
        package.create(app)


def test_use_without_init_app_is_refused(package: Package, app: Flask) -> None:
    """Use in an app without the extension is an error that says what to call."""
    extension = package.create()
    with (
        app.test_request_context(),
        pytest.raises(package.module.SetupError, match="init_app"),
    ):
        package.use(extension)


def test_init_app_needs_no_context(package: Package) -> None:
    """``init_app`` runs outside any context and leaves the file system alone."""
    app = Flask(__name__, instance_path="/nonexistent/instance")
    package.create(app)
    assert not Path(app.instance_path).exists()


SETTINGS = [
    pytest.param(package, id=package.name)
    for package in PACKAGES
    if hasattr(package.config, "declared")
]
settings_of = pytest.mark.parametrize("package", SETTINGS)


def test_sentences_of_setup(package: Package, app: Flask) -> None:
    """Set up twice, used before, used outside of an app: one sentence for each."""
    one, name, error = app.name, package.extension, package.module.SetupError
    extension = package.create(app)
    with pytest.raises(error) as caught:
        package.create(app)
    assert str(caught.value) == f"{name} is already set up on the app {one!r}."
    other = Flask("other")
    with other.test_request_context(), pytest.raises(error) as caught:
        package.use(extension)
    assert str(caught.value) == (
        f"{name} is not set up on the app 'other'; call {name}().init_app(app) first."
    )
    with pytest.raises(error) as caught:
        package.use(extension)
    assert str(caught.value) == f"{name} needs an app context; use it in a request."


@pytest.mark.parametrize("wrong", ["shop", Blueprint("shop", __name__)], ids=type)
def test_no_app(package: Package, wrong: object) -> None:
    """Something else than an app is refused by name."""
    with pytest.raises(TypeError, match=r"^app is .*: pass a Flask app"):
        getattr(package.module, package.extension)(wrong)


def test_options_are_keywords(package: Package) -> None:
    """An extension takes the app, and every option by its name."""
    parameters = inspect.signature(
        getattr(package.module, package.extension)
    ).parameters
    assert next(iter(parameters)) == "app"
    assert parameters["app"].default is None
    assert {
        name
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    } <= {"app", *package.positional}


def test_extension_holds_no_app(package: Package, app: Flask) -> None:
    """The extension object keeps no state of an app."""
    extension = package.create(app)
    kept = {
        name: getattr(extension, name)
        for kind in type(extension).__mro__
        for name in getattr(kind, "__slots__", ())
        if hasattr(extension, name)
    } | getattr(extension, "__dict__", {})
    assert app not in kept.values()
    assert app.extensions[package.key] not in kept.values()


def snapshot(app: Flask) -> tuple[object, ...]:
    """Return what an extension may add to an app."""
    return (
        dict(app.extensions),
        [str(rule) for rule in app.url_map.iter_rules()],
        {key: list(value) for key, value in app.before_request_funcs.items()},
        {key: list(value) for key, value in app.after_request_funcs.items()},
        {key: list(value) for key, value in app.teardown_request_funcs.items()},
        list(app.teardown_appcontext_funcs),
        dict(app.jinja_env.globals),
        dict(app.blueprints),
        app.wsgi_app,
        sorted(app.cli.commands),
        app.response_class,
    )


@settings_of
def test_refused_setup_changes_nothing(package: Package, app: Flask) -> None:
    """A wrong configuration leaves the app as it was."""
    before = snapshot(app)
    app.config[next(iter(package.config_fields))] = object()
    with pytest.raises(package.module.ConfigError, match="set "):
        package.create(app)
    assert snapshot(app) == before


@settings_of
def test_keys_are_explained(package: Package) -> None:
    """Each key has its help in whole sentences, and a default that it would accept."""
    config = package.config()
    for name, declared in config.declared():
        meaning = declared.metadata["meaning"]
        assert meaning.endswith("."), name
        assert re.match(r"[A-Z`0-9]", meaning), name


@settings_of
def test_misspelt_keys(package: Package, app: Flask) -> None:
    """A key with a letter too few is refused, led to the right one, value hidden."""
    for key in package.config_fields:
        for place in range(len(package.prefix) + 1, len(key)):
            typo = key[:place] + key[place + 1 :]
            if typo in package.config_fields or len(typo) < len(package.prefix) + 4:
                continue
            with pytest.raises(package.module.ConfigError, match="did you mean") as it:
                package.config.from_mapping({typo: "s3cret"})
            assert "s3cret" not in str(it.value)


@settings_of
def test_keys_of_others(
    package: Package, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that resembles none causes one warning, unless ``ignore_keys`` names it."""
    app.config[f"{package.prefix}QQQQQQQQ"] = "s3cret"
    package.create(app)
    (warning,) = [it for it in caplog.messages if "QQQQQQQQ" in it]
    assert "ignore_keys" in warning
    assert "s3cret" not in warning
    caplog.clear()
    other = Flask("other", instance_path=app.instance_path)
    other.config[f"{package.prefix}QQQQQQQQ"] = "s3cret"
    other.config[f"{package.prefix}QQQQQQQR"] = 1
    getattr(package.module, package.extension)(
        other, ignore_keys=[f"{package.prefix}QQQQQQQQ", f"{package.prefix}QQQQQQQR"]
    )
    assert not [it for it in caplog.messages if "QQQQ" in it]


SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY|REDIS_URL|_URL$")


@settings_of
def test_secrets_are_marked(package: Package) -> None:
    """Keys that sound like secrets, or hold URLs with a login, are marked as secret."""
    for name, declared in package.config.declared():
        if SECRET.search(name) and name not in package.public_urls:
            assert declared.metadata["secret"], name


@settings_of
def test_secrets_stay_secret(package: Package) -> None:
    """A secret is in no ``repr`` or output, and in no error of a wrong value."""
    mark = uuid.uuid4().hex
    for name, declared in package.config.declared():
        if not declared.metadata["secret"]:
            continue
        with pytest.raises(package.module.ConfigError, match=name) as caught:
            package.config.from_mapping({name: [mark]})
        assert mark not in "".join(traceback.format_exception(caught.value))
        url = f"{str(declared.default or 'redis://').partition('://')[0]}://u:{mark}@h"
        for value in (mark, url):
            # Not every secret stands alone, and not every one is a URL.
            with contextlib.suppress(package.module.ConfigError):
                made = package.config.from_mapping({name: value})
                assert mark not in f"{made!r} {list(made.shown())}", name


@settings_of
def test_environment(package: Package, app: Flask) -> None:
    """Every default that JSON can say is read from an environment variable."""
    config = package.config()
    with pytest.MonkeyPatch.context() as patch:
        expected = {}
        for name, declared in config.declared():
            value = getattr(config, declared.name)
            if isinstance(value, bool | int | float | str | None):
                patch.setenv(f"FLASK_{name}", json.dumps(value))
                expected[name] = value
        app.config.from_prefixed_env()
    made = package.config.from_mapping(
        {key: app.config[key] for key in expected if key in app.config}
    )
    for name, value in expected.items():
        assert getattr(made, name.removeprefix(package.prefix).lower()) == value


@settings_of
def test_config_command(package: Package, app: Flask) -> None:
    """``flask <name> config`` prints every key, with a star where it was set."""
    package.create(app)
    result = app.test_cli_runner().invoke(args=[package.key, "config"])
    assert result.exit_code == 0, result.output
    for key in package.config_fields:
        assert re.search(rf"^[* ] {key} = ", result.output, re.MULTILINE), key


@settings_of
def test_config_as_json(package: Package, app: Flask) -> None:
    """With ``--json`` each key is an object on its line, as it is in the text."""
    package.create(app)
    runner = app.test_cli_runner()
    text = runner.invoke(args=[package.key, "config"]).output.splitlines()
    result = runner.invoke(args=[package.key, "config", "--json"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines()]
    assert [(row["key"], row["set"]) for row in rows] == [
        (line[2:].partition(" = ")[0], line.startswith("*")) for line in text
    ]
    plain = [row for row in rows if row["key"] in package.config_fields]
    plain = [row for row in plain if not isinstance(row["value"], dict | list)]
    assert [row for row in plain if f"= {row['value']!r}" not in "\n".join(text)] == []


@settings_of
def test_config_hides_secrets(package: Package, tmp_path: Path) -> None:
    """Neither form of ``flask <name> config`` prints a secret."""
    mark = uuid.uuid4().hex
    for name, declared in package.config.declared():
        if not declared.metadata["secret"]:
            continue
        scheme = str(declared.default or "redis://").partition("://")[0]
        for value in (mark, f"{scheme}://u:{mark}@h"):
            app = Flask(__name__, instance_path=str(tmp_path))
            app.config[name] = value
            # Not every secret stands alone, and not every one is a URL.
            with contextlib.suppress(package.module.ConfigError):
                package.create(app)
                for options in ([], ["--json"]):
                    args = [package.key, "config", *options]
                    result = app.test_cli_runner().invoke(args=args)
                    assert name in result.output
                    assert mark not in result.output


def test_errors_survive_pickling(package: Package) -> None:
    """An error that travels to another process is whole, with its data."""
    error = package.module.ConfigError("KEY", "value", "set something else")
    for made in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(made) == str(error) == "KEY is 'value': set something else"
        assert (made.key, made.value, made.remedy) == (
            "KEY", "value", "set something else",
        )  # fmt: skip


def test_errors_share_one_base(package: Package) -> None:
    """All errors of a package have one base class, named after it."""
    errors = importlib.import_module(f"{package.name}.exceptions")
    base = getattr(errors, f"{package.extension}Error")
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
        and value.__module__ == errors.__name__
    ]  # fmt: skip
    assert {base, errors.ConfigError, errors.SetupError} <= set(found)
    assert all(issubclass(error, base) for error in found)
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.SetupError, RuntimeError)


@pytest.mark.parametrize(("package", "key"), KEYS)
def test_wrong_value_fails_at_start(package: Package, key: str, app: Flask) -> None:
    """A wrong value of any key fails in ``init_app``: key, value and remedy."""
    wrong = object()
    app.config[key] = wrong
    with pytest.raises(package.module.ConfigError, match=key) as caught:
        package.create(app)
    error = caught.value
    assert error.key == key
    # A secret is not shown, by either mechanism.
    assert error.value in (wrong, "***")
    assert str(error) in (
        f"{key} is {error.value!r}: {error.remedy}",
        f"{key} is '***': {error.remedy}",
    )


def test_configuration_table(package: Package) -> None:
    """The page of the configuration has the table that the declarations make."""
    assert package.config.table() in package.page("configuration")


def test_readme(package: Package) -> None:
    """A README says how to install and start, when not to, and where to read on."""
    headings = re.findall(r"^## (.+)$", package.readme, re.MULTILINE)
    assert headings == [
        "Install", "Quick start", "When to use it", "When not", "Documentation",
    ]  # fmt: skip
    assert f"pip install {package.directory.name}" in package.readme
    assert f"pip install ./packages/{package.directory.name}" in package.readme
    links = re.findall(r"\]\((?!http)([^)#]+)", package.readme)
    lost = [one for one in links if not (package.directory / one).exists()]
    assert (len(links) > 10, lost) == (True, [])


@pytest.mark.parametrize("page", ["security", "errors", "migrating", "tutorial"])
def test_pages(package: Package, page: str) -> None:
    """A package has the pages that people look for, and names every error."""
    text = package.page(page)
    assert text.startswith("# ")
    if page == "errors":
        errors = [name for name in package.module.__all__ if name.endswith("Error")]
        assert [name for name in errors if name not in text] == []


def test_performance(package: Package) -> None:
    """The page has goals, and dated figures of benchmarks that exist."""
    page = package.page("performance")
    assert "## Goals" in page
    found = re.findall(r"<!-- figures: (\S+).* -->\n((?s:.*?))<!-- end of", page)
    assert found
    for benchmark, figures in found:
        assert (ROOT / "benchmarks" / f"{benchmark}.py").exists()
        assert not figures or re.search(r"` on 20\d\d-\d\d-\d\d: Python", figures)


def test_metadata(package: Package) -> None:
    """A distribution has a static version, its changes, and few dependencies."""
    metadata = tomllib.loads((package.directory / "pyproject.toml").read_text())
    project = metadata["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    assert names == package.dependencies
    changes = (package.directory / "CHANGES.md").read_text()
    assert project["version"].split(".dev")[0] in changes
    assert (package.directory / "LICENSE").exists()
    assert (package.directory / "src" / package.name / "py.typed").exists()


def test_commands(package: Package, app: Flask) -> None:
    """The commands for operators are under ``flask <name>``, with help."""
    package.create(app)
    assert (package.key in app.cli.commands) == package.commands
    if package.commands:
        result = app.test_cli_runner().invoke(args=[package.key, "--help"])
        assert result.exit_code == 0
        assert "Commands:" in result.output


DECORATORS: dict[str, Callable[[Any], Any]] = {
    "hints": flask_firehose.hints("/style.css"),
    "cache_for": cache_for(minutes=1),
    "cache_control": cache_control(no_store=True),
    "stream_with_context": flask_streaming.stream_with_context,
}


@pytest.mark.parametrize("name", DECORATORS)
def test_decorators(name: str) -> None:
    """A decorated function keeps its name, and says what it wraps."""

    def view(number: int) -> Any:
        yield str(number)

    decorated = DECORATORS[name](view)
    assert decorated.__name__ == "view"
    assert decorated.__wrapped__ is view
    assert inspect.signature(decorated) == inspect.signature(view)


@pytest.mark.parametrize("name", ["hints", "cache_for", "cache_control"])
def test_decorators_of_async_views(name: str) -> None:
    """A decorated async view is still async, for the decorators above it."""

    async def view() -> str:
        return "page"

    assert inspect.iscoroutinefunction(DECORATORS[name](view))
