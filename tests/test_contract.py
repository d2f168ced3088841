"""The conventions that all five packages share, each tested on all five."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from dataclasses import MISSING
from pathlib import Path

import pytest
from flask import Flask

from harness.packages import PACKAGES
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
    """Tell whether code imports Flask when it runs, not for its types alone."""
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


def test_readme_configuration_table(package: Package) -> None:
    """The README's table lists every key with the default that the code has."""
    section = package.readme.split("## Configuration", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(
        rf"^\| `({package.prefix}\w+)` \|[^|]*\| `(.*?)` \|", section, re.MULTILINE
    )
    documented = {key: ast.literal_eval(default) for key, default in rows}
    defaults = {
        key: field.default_factory()
        if field.default_factory is not MISSING
        else field.default
        for key, field in package.config_fields.items()
    }
    assert documented == defaults


def test_readme_sections(package: Package) -> None:
    """A README says how to install, start, configure, and what goes wrong."""
    headings = re.findall(r"^## (.+)$", package.readme, re.MULTILINE)
    positions = [
        headings.index(heading)
        for heading in ("Install", "Quick start", "Configuration", "Errors")
    ]
    assert positions == sorted(positions)
    assert f"pip install {package.directory.name}" in package.readme


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
    """What an operator needs stands under ``flask <name>``, with help."""
    package.create(app)
    assert (package.key in app.cli.commands) == package.commands
    if package.commands:
        result = app.test_cli_runner().invoke(args=[package.key, "--help"])
        assert result.exit_code == 0
        assert "Commands:" in result.output
