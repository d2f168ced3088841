"""The configuration mechanism that all five packages ship."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from typing import ClassVar
from typing import Literal

import pytest
from flask import Flask
from flask.cli import AppGroup


ROOT = Path(__file__).parent.parent


def shop_of(package: str) -> SimpleNamespace:
    """Return what a package's copy has, with a class of one key of each kind."""
    it = SimpleNamespace(
        **vars(importlib.import_module(f"{package}._settings")),
        **{
            name: getattr(importlib.import_module(f"{package}._setup"), name)
            for name in (
                "Commands",
                "SetupError",
                "echo_config",
                "refuse_twice",
                "state_of",
            )
        },
    )
    key, satisfies = it.key, it.satisfies

    @it.settings
    class Config(it.Settings):  # type: ignore[misc, name-defined]
        """One key of each kind."""

        prefix: ClassVar[str] = "SHOP_"

        open: bool = key(False, "Whether it is open.")
        workers: int = key(4, "How many work there.", it.at_least(1))
        seconds: float = key(2.5, "The time of one sale in seconds.")
        path: str | None = key(None, "Where it is.")
        mode: Literal["fast", "slow"] = key("slow", "The mode.")
        types: tuple[str, ...] = key(
            ("a/b",), "Media types.", it.matches(".+/.+", "as a/b")
        )
        parts: Mapping[str, Any] = key({}, "Its parts.")
        redis_url: str | None = key(None, "The Redis.", secret=True)
        secret: str | bytes | None = key(None, "What signs.", secret=True)
        callback: Any = key(
            None, "A callable.", satisfies(callable, "callable"), read=False
        )

        def check(self) -> None:
            """Refuse a path in a closed shop."""
            if self.path and not self.open and self.mode == "fast":
                raise self.error("path", self.path, "open the shop")

    it.Config = Config
    return it


SHOPS = {
    path.name: shop_of(path.name)
    for path in sorted(ROOT.glob("packages/*/src/flask_*"))
}


@pytest.fixture(params=SHOPS.values(), ids=[*SHOPS])
def shop(request: pytest.FixtureRequest) -> Any:
    """Each package's copy."""
    return request.param


@pytest.mark.parametrize("name", ["_settings.py", "_setup.py"])
def test_shared_modules_are_one_file(name: str) -> None:
    """The modules that every package ships are equal byte for byte."""
    copies = {path.read_bytes() for path in ROOT.glob(f"packages/*/src/*/{name}")}
    assert len(copies) == 1
    assert len(list(ROOT.glob(f"packages/*/src/*/{name}"))) == 5


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("open", True, True),
        ("workers", 1, 1),
        ("seconds", 3, 3.0),
        ("path", Path("a/b"), "a/b"),
        ("mode", "fast", "fast"),
        ("types", ["x/y"], ("x/y",)),
        ("types", (), ()),
        ("parts", {"a": 1}, {"a": 1}),
        ("redis_url", None, None),
        ("secret", b"x", b"x"),
    ],
)
def test_kept(shop: Any, name: str, value: object, kept: object) -> None:
    """A value of the annotated type is kept, in the type's own form."""
    config = shop.Config.from_mapping({f"SHOP_{name.upper()}": value})
    assert getattr(config, name) == kept
    assert type(getattr(config, name)) is type(kept) or name == "parts"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("open", 1, "set True or False; in an environment variable write true or "
         "false"),
        ("open", None, "set True or False"),
        ("workers", True, "set a whole number, 1 or more"),
        ("workers", 0, "set a whole number, 1 or more"),
        ("workers", 2.0, "set a whole number, 1 or more"),
        ("seconds", float("nan"), "set a number"),
        ("path", 3, "set a string or None; in an environment variable write it in "
         "double quotes"),
        ("mode", "fats", "set 'fast' or 'slow'"),
        ("types", "x/y", "set a tuple, each item a string, as a/b"),
        ("types", ["xy"], "set a tuple, each item a string, as a/b"),
        ("parts", [], "set a dictionary"),
        ("parts", {1: 1}, "set a dictionary"),
    ],
)  # fmt: skip
def test_wrong(shop: Any, name: str, value: Any, message: str) -> None:
    """A wrong value is refused alike from the app and from code, and the key named."""
    expected = f"SHOP_{name.upper()} is {value!r}: {message}"
    with pytest.raises(shop.ConfigError, match="SHOP_") as by_app:
        shop.Config.from_mapping({f"SHOP_{name.upper()}": value})
    with pytest.raises(shop.ConfigError, match="SHOP_") as by_code:
        shop.Config(**{name: value})
    assert str(by_app.value) == str(by_code.value) == expected


def test_code_only_key(shop: Any) -> None:
    """A field that is not read from the app is named as the argument it is."""
    with pytest.raises(
        shop.ConfigError, match=r"^callback is 3: set a value, callable$"
    ):
        shop.Config(callback=3)
    assert shop.Config.from_mapping({"SHOP_OTHER": 3}).callback is None


def test_together(shop: Any) -> None:
    """Values that exclude each other are refused by the class's own check."""
    with pytest.raises(shop.ConfigError, match="SHOP_PATH is 'x': open the shop"):
        shop.Config(path="x", mode="fast")


def test_frozen(shop: Any) -> None:
    """A configuration does not change."""
    with pytest.raises(FrozenInstanceError, match="open"):
        shop.Config().open = True


FIRST = SHOPS["flask_firehose"].Config
MISSPELT = {
    typo: name
    for name, _ in FIRST.declared()
    for bare in [name.removeprefix("SHOP_")]
    for place in range(len(bare))
    for typo in (
        f"SHOP_{bare[:place]}{bare[place + 1:]}",
        f"SHOP_{bare[:place]}{bare[place]}{bare[place:]}",
        f"{name}S",
    )
    if len(bare) > 4
}  # fmt: skip


@pytest.mark.parametrize("typo", sorted(MISSPELT.keys() - dict(FIRST.declared())))
def test_misspelt(typo: str) -> None:
    """A misspelt key is refused, led to the right one, and its value shop.hidden."""
    with pytest.raises(
        SHOPS["flask_firehose"].ConfigError, match=rf"{MISSPELT[typo]}\?$"
    ) as caught:
        FIRST.from_mapping({typo: "s3cr3t"})
    assert "s3cr3t" not in str(caught.value)


def test_foreign(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A key that resembles none gets one warning; ``ignore_keys`` silences both."""
    with caplog.at_level(logging.WARNING):
        shop.Config.from_mapping({"SHOP_EMAIL": "x@y", "OTHER": 1})
    (record,) = caplog.records
    assert "SHOP_EMAIL" in record.message
    assert "x@y" not in record.message
    caplog.clear()
    shop.Config.from_mapping(
        {"SHOP_EMAIL": 1, "SHOP_WORKER": 1}, ignore_keys=("SHOP_EMAIL", "SHOP_WORKER")
    )
    assert not caplog.records


@pytest.mark.parametrize(
    "url",
    ["redis://me:s3cr3t@h/0", "redis://h/0?password=s3cr3t", "redis://:s3/cr3t@h"],
)
def test_secrets_are_hidden(shop: Any, url: str) -> None:
    """A secret is in no error, no ``repr`` and no output."""
    config = shop.Config(redis_url=url, secret="s3cr3t")
    error = shop.Config.error("redis_url", url, "set another")
    texts = [repr(config), str(error), repr(error.value), *map(str, config.shown())]
    assert not [text for text in texts if "cr3t" in text]
    with pytest.raises(shop.ConfigError, match=r"SHOP_SECRET is '\*\*\*'") as caught:
        shop.Config.from_mapping({"SHOP_SECRET": 53})
    assert caught.value.__cause__ is None
    assert "h" in shop.hidden(url)


def test_environment(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask's own ``from_prefixed_env`` gives the JSON forms that the keys take."""
    for name, value in {
        "OPEN": "true",
        "WORKERS": "2",
        "TYPES": '["x/y"]',
        "PATH": "null",
        "SECRET": '"123"',
        "PARTS__A": "1",
    }.items():
        monkeypatch.setenv(f"FLASK_SHOP_{name}", value)
    app = Flask(__name__)
    app.config.from_prefixed_env()
    config = shop.Config.from_mapping(app.config)
    assert (config.open, config.workers, config.types) == (True, 2, ("x/y",))
    assert (config.path, config.secret, config.parts) == (None, "123", {"A": 1})


def test_table(shop: Any) -> None:
    """The README's rows come from the declarations."""
    rows = shop.Config.table().splitlines()
    assert rows[3] == (
        "| `SHOP_WORKERS` | a whole number, 1 or more | `4` | How many work there. |"
    )
    assert len(rows) == 2 + len(list(shop.Config.declared()))


def test_setup_sentences(shop: Any) -> None:
    """Set up twice, not set up, and no app are each one clear sentence."""
    app = Flask("shop")
    with pytest.raises(
        shop.SetupError, match=r"^Store needs an app context; use it in a"
    ):
        shop.state_of("store", "Store", dict)
    with (
        app.app_context(),
        pytest.raises(
            shop.SetupError, match=r"^Store is not set up on the app 'shop'; call"
        ),
    ):
        shop.state_of("store", "Store", dict)
    shop.refuse_twice(app, "store", "Store")
    app.extensions["store"] = {}
    with pytest.raises(
        shop.SetupError, match=r"^Store is already set up on the app 'shop'"
    ):
        shop.refuse_twice(app, "store", "Store")
    with app.app_context():
        assert shop.state_of("store", "Store", dict) == {}


def test_commands(shop: Any) -> None:
    """``config`` prints what is in force; an error of ours is one line and exit 1."""
    app = Flask(__name__)
    cli: AppGroup = shop.Commands("shop")

    @cli.command("config")
    def config() -> None:
        shop.echo_config(shop.Config(workers=2, secret="s3cr3t"), {"option": 1})

    @cli.command("fail")
    def fail() -> None:
        raise shop.ConfigError("SHOP_X", 1, "set it")

    app.cli.add_command(cli)
    runner = app.test_cli_runner()
    output = runner.invoke(args=["shop", "config"]).output
    assert "* SHOP_WORKERS = 2\n" in output
    assert "  SHOP_OPEN = False\n" in output
    assert "* SHOP_SECRET = '***'\n  option = 1\n" in output
    result = runner.invoke(args=["shop", "fail"])
    assert (result.exit_code, result.output) == (1, "Error: SHOP_X is 1: set it\n")
