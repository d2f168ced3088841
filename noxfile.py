"""Every task of the workspace: ``nox --list``."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox


nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests", "lint", "typecheck"]

ROOT = Path(__file__).parent
WORKSPACE = nox.project.load_toml("pyproject.toml")
PACKAGES = tuple(sorted(path.name for path in (ROOT / "packages").iterdir()))
# A deprecation met by a test is a failure, in development mode too.
STRICT_PYTHON = ("python", "-W", "error", "-X", "dev")
# Most tests wait, so there are more processes than cores. The tests of a file share its
# servers and stay in one; the longest files come first.
PARALLEL = (
    "-n", str(min(4, (os.cpu_count() or 1) + 1)), "--dist", "loadfile",
    "--no-loadscope-reorder",
)  # fmt: skip
# A busy machine may start a server too late; what is tried again is reported.
RERUNS = ("--reruns", "2") if "CI" in os.environ else ()
# What the tests' own process runs of the packages; servers' processes are not counted.
COVERAGE = ("--cov", "--cov-report=term-missing:skip-covered")
# Beside other extensions, and on every server.
SUITES = ("tests/coexistence", "tests/servers")
SITE = "dist/docs"


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of the workspace."""
    return list(nox.project.dependency_groups(WORKSPACE, name))


def metadata(package: str) -> nox.project.TOMLDict:  # type: ignore[name-defined]
    """Return a package's ``[project]`` table."""
    return nox.project.load_toml(f"packages/{package}/pyproject.toml")["project"]


def install_workspace(session: nox.Session, *groups: str) -> None:
    """Install all packages, editable, with their extras."""
    arguments = []
    for package in PACKAGES:
        extras = ",".join(metadata(package).get("optional-dependencies", {}))
        arguments += ["-e", f"packages/{package}" + (extras and f"[{extras}]")]
    requirements = [line for name in groups for line in group(name)]
    install_once(session, *arguments, *requirements)


def install_once(session: nox.Session, *arguments: str) -> None:
    """Install, unless this environment was made for the same by an earlier run.

    So the second run of a session starts at once, and without a network.
    """
    projects = [path.read_bytes() for path in sorted(ROOT.glob("packages/*/py*.toml"))]
    wanted = repr((arguments, projects, sys.version)).encode()
    digest = hashlib.sha256(wanted).hexdigest()
    done = Path(session.virtualenv.location, "installed.sha256")
    if not done.exists() or done.read_text() != digest:
        done.unlink(missing_ok=True)
        session.install(*arguments)
        done.write_text(digest)


@contextmanager
def built(session: nox.Session, package: str) -> Iterator[tuple[Path, Path]]:
    """Yield a package's wheel and its unpacked sdist: from ``$DIST``, or fresh ones."""
    session.install("build")
    # Outside the workspace, so that a test finds none of its configuration.
    with tempfile.TemporaryDirectory() as directory:
        found = os.environ.get("DIST")
        if not found:
            session.run(
                "python", "-m", "build", "--outdir", directory, f"packages/{package}",
                silent=True,
            )  # fmt: skip
        stem = package.replace("-", "_")
        (wheel,) = Path(found or directory).glob(f"{stem}-*.whl")
        (sdist,) = Path(found or directory).glob(f"{stem}-*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(directory, filter="data")
        yield wheel, Path(directory, sdist.name.removesuffix(".tar.gz"))


def run_own_tests(session: nox.Session, sdist: Path) -> None:
    """Run the tests that travel in a package's sdist."""
    with session.chdir(sdist):
        session.run(*STRICT_PYTHON, "-m", "pytest", "-q", "tests", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, against every server that is installed."""
    install_workspace(session, "tests")
    coverage = COVERAGE if "CI" in os.environ else ()
    pytest = (*STRICT_PYTHON, "-m", "pytest", *PARALLEL, *RERUNS, *coverage)
    session.run(*pytest, *session.posargs)


@nox.session
def coexistence(session: nox.Session) -> None:
    """Run all five beside other extensions and on every server.

    ``nox -s coexistence -- --refresh`` files what fails, and makes the page of it.
    """
    install_workspace(session, "tests", "coexistence")
    pytest = (*STRICT_PYTHON, "-m", "pytest")
    if "--refresh" in session.posargs:
        session.run(*pytest, *SUITES, *session.posargs, success_codes=[0, 1])
        page = "--compatibility=docs/compatibility.md"
        session.run("pytest", *SUITES, "--collect-only", "-q", page, silent=True)
    else:
        page = "tests/test_compatibility.py"
        session.run(*pytest, *RERUNS, page, *SUITES, *session.posargs)


# A wheel of the same version would not be installed again.
@nox.session(reuse_venv=False)
@nox.parametrize("package", PACKAGES)
def isolated(session: nox.Session, package: str) -> None:
    """Run a package's own tests on its wheel, with nothing else installed."""
    with built(session, package) as (wheel, sdist):
        session.install(str(wheel), *group("package-tests"))
        run_own_tests(session, sdist)


# A wheel of the same version would not be installed again.
@nox.session(reuse_venv=False)
@nox.parametrize("package", PACKAGES)
def lowest(session: nox.Session, package: str) -> None:
    """Run a package's own tests with the oldest versions that it allows."""
    project = metadata(package)
    extras = project.get("optional-dependencies", {})
    allowed = [
        *project["dependencies"],
        *(line for key in extras for line in extras[key]),
    ]
    oldest = [requirement.replace(">=", "==") for requirement in allowed]
    with built(session, package) as (wheel, sdist):
        session.install(str(wheel), *oldest, *group("package-tests"))
        run_own_tests(session, sdist)


# A wheel of the same version would not be installed again.
@nox.session(reuse_venv=False)
@nox.parametrize("package", PACKAGES)
def upcoming(session: nox.Session, package: str) -> None:
    """Run a package's own tests on the main branches of Flask and Werkzeug.

    With ``UPCOMING=pre``, on their newest releases, pre-releases included.
    """
    with built(session, package) as (wheel, sdist):
        session.install(str(wheel), *group("package-tests"))
        if os.environ.get("UPCOMING") == "pre":
            session.install("--pre", "-U", "flask", "werkzeug")
        else:
            for name in ("werkzeug", "flask"):
                archive = f"https://github.com/pallets/{name}/archive/main.tar.gz"
                session.install(f"{name} @ {archive}")
        run_own_tests(session, sdist)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types, strictly by mypy and once more by pyright."""
    install_workspace(session, "typecheck")
    for package in PACKAGES:
        # Runs of their own, because each may have a conftest.
        tests = f"packages/{package}/tests"
        source = f"packages/{package}/src"
        session.run("mypy", source, tests, "--exclude", "/servers/")
        session.run("mypy", f"{tests}/servers", env={"MYPYPATH": tests})
    session.run("mypy", "--explicit-package-bases", "tests", "demo")
    beside = ":".join(["tests", *(f"packages/{name}/tests" for name in PACKAGES)])
    session.run("mypy", "noxfile.py", "benchmarks", env={"MYPYPATH": beside})
    session.run("pyright")
    # As an installed package is seen: every public name has a type.
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    installed = str(session.run("python", "-c", find, silent=True)).strip()
    for package in PACKAGES:
        session.run(
            "pyright", "--verifytypes", package.replace("-", "_"), "--ignoreexternal",
            env={"PYTHONPATH": f"packages/{package}/src:{installed}"}, silent=True,
        )  # fmt: skip


@nox.session
def build(session: nox.Session) -> None:
    """Build the distributions into ``dist`` and check their metadata."""
    session.install("build[uv]", "twine")
    for old in Path("dist").glob("flask_*"):
        old.unlink()
    for package in session.posargs or PACKAGES:
        session.run(
            "python", "-m", "build", "--installer", "uv", "--outdir", "dist",
            f"packages/{package}",
        )  # fmt: skip
    session.run("twine", "check", "--strict", *map(str, Path("dist").glob("flask_*")))


@nox.session
def conformance(session: nox.Session) -> None:
    """Print how flask-webcache fares in the public HTTP cache tests."""
    install_workspace(session, "tests")
    test = "packages/flask-webcache/tests/servers/test_conformance.py"
    session.run("pytest", "-q", "-s", test)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into ``dist/docs``, and test it and its samples.

    ``nox -s docs -- build`` only builds it.
    """
    install_workspace(session, "docs")
    shutil.rmtree(SITE, ignore_errors=True)
    # Not create_tmp(): it would be where tests put their files, and in Flask's eyes an
    # app below sys.prefix is installed, with an instance folder for all.
    doctrees = str(Path(session.virtualenv.location, "doctrees"))
    session.run(
        "sphinx-build", "-q", "-W", "-n", "--keep-going", "-b", "html",
        "-d", doctrees, "docs", SITE,
    )  # fmt: skip
    if session.posargs != ["build"]:
        # The samples in one process, the browser in another.
        parallel = ("-n", "2", "--dist", "loadfile", *RERUNS)
        pytest = (*STRICT_PYTHON, "-m", "pytest", *parallel)
        session.run(*pytest, "tests/docs", *session.posargs)


@nox.session
def links(session: nox.Session) -> None:
    """Request every link of the site that leads to another host.

    Links within the site are checked whenever it is built.
    """
    install_workspace(session, "docs")
    session.run(
        "sphinx-build", "-q", "-n", "-b", "linkcheck",
        "-d", session.create_tmp() + "/doctrees", "docs", "dist/links",
    )  # fmt: skip


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, or those named: ``nox -s bench -- store``."""
    install_workspace(session, "bench")
    names = session.posargs or sorted(
        p.stem for p in (ROOT / "benchmarks").glob("[!_]*.py")
    )
    for name in names:
        session.run("python", f"benchmarks/{name}.py")


@nox.session
def figures(session: nox.Session) -> None:
    """Run benchmarks for the site: all, or ``nox -s figures -- store``.

    The site shows what they print, so the machine has to be idle.
    """
    install_workspace(session, "bench")
    session.run("python", "docs/figures.py", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Take the pictures of the demo for the site into ``docs/images``."""
    install_workspace(session, "tests")
    session.run("python", "docs/pictures.py", env={"PYTHONPATH": "tests"})


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo: ``nox -s demo``, or ``nox -s demo -- --http2 --open``."""
    groups = ["demo", *(["demo-s3"] if "--s3" in session.posargs else [])]
    install_workspace(session, *groups)
    session.run("python", "-m", "demo", *session.posargs)
