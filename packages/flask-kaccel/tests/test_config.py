"""The configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_kaccel import Kaccel
from flask_kaccel._files import Location
from flask_kaccel.config import Config
from flask_kaccel.exceptions import ConfigError


DIRECTORY = {"KACCEL_FILES_PATH": "files"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BACKEND", "Nginx"), ("BACKEND", ["nginx"]), ("BUFFER", "no"),
        ("BUFFER", None), ("CACHE_EXPIRES", "off"), ("CACHE_EXPIRES", -1),
        ("CACHE_EXPIRES", True),
        ("CHARSET", ""), ("CHARSET", "utf 8"), ("CHARSET", 8), ("FILES_PATH", ""),
        ("FILES_PATH", "/"), ("FILES_PATH", b"/srv"), ("FILES_PATH", "a\0b"),
        ("FILES_PATH", 5), ("HOST", "http://localhost"),
        ("HOST", ""), ("HOST", 8000), ("LIMIT_RATE", "5k"), ("LIMIT_RATE", False),
        ("LIMIT_RATE", 1.5), ("MAPPINGS", []), ("MAPPINGS", "x"),
        ("REDIRECT_PATH", "protected"), ("REDIRECT_PATH", "/protected"),
        ("REDIRECT_PATH", "protected/"), ("REDIRECT_PATH", "/"),
        ("REDIRECT_PATH", "//a/"), ("REDIRECT_PATH", "/a/../b/"),
        ("REDIRECT_PATH", "/a b/"), ("REDIRECT_PATH", "/a%20b/"),
        ("REDIRECT_PATH", "/a;b/"), ("REDIRECT_PATH", "/a\n/"), ("REDIRECT_PATH", ""),
        ("REDIRECT_PATH", "/é/"), ("SECRET", "short"), ("SECRET", 5),
        ("SECRET", 'x" ; return 200 "12345678'),
    ],
)  # fmt: skip
def test_wrong_values(key: str, value: Any) -> None:
    """A wrong value fails with its key, itself and a remedy."""
    with pytest.raises(ConfigError, match=f"^KACCEL_{key} is ") as caught:
        Config.from_mapping({**DIRECTORY, f"KACCEL_{key}": value}).locations("/")
    assert caught.value.remedy in str(caught.value)
    assert (repr(value) in str(caught.value)) is (key != "SECRET")


def test_relative_path_to_everything() -> None:
    """Dots do not hide that a directory is the whole file system."""
    config = Config.from_mapping({"KACCEL_FILES_PATH": "../.."})
    with pytest.raises(ConfigError, match=r"^KACCEL_FILES_PATH is '/': set the path"):
        config.locations("/app")


@pytest.mark.parametrize(
    ("mappings", "shown"),
    [
        ({"/": "/a/"}, "'/' in it must be the path of a directory"),
        ({"": "/a/"}, "'' in it must be the path of a directory"),
        ({5: "/a/"}, "set a dictionary"),
        ({"ftp://host/": "/a/"}, "'ftp://host/' in it must be the URL of a store"),
        ({"http://host": "/a/"}, "'http://host' in it must be the URL of a store"),
        ({"http://host/$x/": "/a/"}, "must be the URL of a store"),
        ({"http://user@host/": "/a/"}, "must be the URL of a store"),
        ({"/srv": "a"}, "'a' in it must be the path of an internal location"),
        ({"/srv": None}, "set a dictionary"),
        ({"/srv": "/a/", "/srv/": "/b/"}, "'/srv/' and '/srv/' share"),
        ({"/srv": "/a/", "/opt": "/a/"}, "share a directory or a prefix"),
        ({"/srv": "/a/", "/opt": "/a/b/"}, "share a directory or a prefix"),
        ({"/srv": "/a/b/", "http://host/": "/a/"}, "share a directory or a prefix"),
    ],
    ids=str,
)
def test_wrong_mappings(mappings: Any, shown: str) -> None:
    """Sources and prefixes are checked each, and against each other."""
    with pytest.raises(ConfigError, match=f"^KACCEL_MAPPINGS is .*{shown}"):
        Config.from_mapping({"KACCEL_MAPPINGS": mappings}).locations("/app")


def test_keys_that_need_each_other() -> None:
    """A prefix needs a directory, and so does X-Sendfile."""
    with pytest.raises(ConfigError, match=r"^KACCEL_FILES_PATH is None: set it"):
        Config.from_mapping({"KACCEL_REDIRECT_PATH": "/protected/"})
    with pytest.raises(ConfigError, match=r"^KACCEL_BACKEND is 'x-sendfile': set KACC"):
        Config.from_mapping({"KACCEL_BACKEND": "x-sendfile"})


@pytest.mark.parametrize(
    ("static", "prefix", "refused"),
    [
        ("/static", "/static/", True),
        ("/static/", "/static/", True),
        ("/static", "/static/files/", True),
        ("/assets/app", "/assets/", True),
        ("/static", "/static-files/", False),
        ("/static", "/protected/", False),
        ("", "/protected/", False),
        ("/", "/protected/", False),
    ],
)
def test_prefix_of_static_files(
    tmp_path: Path, static: str, prefix: str, refused: bool
) -> None:
    """A prefix may not be the static files' own path, nor lie below or above it."""
    name = str(tmp_path)
    for config, key in (
        ({"KACCEL_FILES_PATH": name, "KACCEL_REDIRECT_PATH": prefix}, "REDIRECT_PATH"),
        ({"KACCEL_MAPPINGS": {name: prefix}}, "MAPPINGS"),
    ):
        app = Flask(__name__, static_url_path=static, static_folder=name)
        app.config.update(config)
        if refused:
            with pytest.raises(
                ConfigError, match=f"^KACCEL_{key} is '{prefix}': .* pu"
            ):
                Kaccel(app)
        else:
            Kaccel(app)
        # Without static files there is nothing in the way.
        app = Flask(__name__, static_url_path=static, static_folder=None)
        app.config.update(config)
        Kaccel(app)


@pytest.mark.parametrize(
    ("config", "backend"),
    [
        ({}, "flask"),
        (DIRECTORY, "flask"),
        ({**DIRECTORY, "KACCEL_REDIRECT_PATH": "/protected/"}, "nginx"),
        ({"KACCEL_MAPPINGS": {"/srv": "/srv/"}}, "nginx"),
        ({"KACCEL_BACKEND": "nginx"}, "nginx"),
        ({**DIRECTORY, "KACCEL_BACKEND": "x-sendfile"}, "x-sendfile"),
    ],
    ids=str,
)
def test_backend(config: dict[str, Any], backend: str) -> None:
    """By default nginx sends where it has a prefix, and Flask where it has none."""
    assert Config.from_mapping(config).sender == backend


def test_locations() -> None:
    """Directories become absolute below the app's root; URLs stay as they are."""
    config = Config.from_mapping(
        {
            "KACCEL_FILES_PATH": Path("files"),
            "KACCEL_REDIRECT_PATH": "/files/",
            "KACCEL_MAPPINGS": {"/srv/../opt": "/opt/", "https://host:9/b/": "/b/"},
        }
    )
    root = os.path.abspath("/app")  # noqa: PTH100 - what Flask does
    assert config.locations(root) == [
        Location(f"{root}/files/", "/files/"),
        Location("/opt/", "/opt/"),
        Location("https://host:9/b/", "/b/"),
    ]
