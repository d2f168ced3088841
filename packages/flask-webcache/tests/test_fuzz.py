"""Whatever is sent: the rules never raise, and never reuse what they must not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned import Clock
from planned import Origin
from werkzeug.http import http_date

from flask_webcache._rules import conditions
from flask_webcache._rules import control
from flask_webcache._rules import fields
from flask_webcache._rules import keys
from flask_webcache._rules import policy
from flask_webcache._rules import variants
from flask_webcache._rules.entry import decode
from flask_webcache._rules.policy import Use


MEANINGFUL = [
    ",",
    ";",
    "=",
    '"',
    "\\",
    "*",
    "-",
    "W/",
    "max-age",
    "s-maxage",
    "no-cache",
    "private",
    "0",
    "60",
    "99999999999999999999",
    "q=",
    "bytes",
    "en",
    "GMT",
    "no-store",
    "(",
    ")",
    ":",
    "?1",
    "%2F",
]
#: Text as a WSGI server hands it on, with a liking for what means something.
TEXT = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.lists(
        st.sampled_from([*MEANINGFUL, " ", "\t", "Thu, 18 Aug 2050 02:01:18 GMT"]),
        max_size=12,
    ).map("".join),
)
ASKING = [
    "CACHE_CONTROL",
    "PRAGMA",
    "RANGE",
    "IF_MATCH",
    "IF_RANGE",
    "IF_NONE_MATCH",
    "IF_MODIFIED_SINCE",
    "IF_UNMODIFIED_SINCE",
    "ACCEPT_LANGUAGE",
    "ACCEPT_ENCODING",
    "HOST",
    "FOO",
]
TARGET = ["QUERY_STRING", "PATH_INFO", "SCRIPT_NAME", "REQUEST_URI"]
SAYING = [
    "Cache-Control",
    "CDN-Cache-Control",
    "Expires",
    "Date",
    "Age",
    "Vary",
    "ETag",
    "Last-Modified",
    "Connection",
    "Cache-Tag",
    "Cache-Groups",
    "Set-Cookie",
    "Content-Language",
    "Content-Range",
]
REQUEST = st.dictionaries(
    st.sampled_from([*TARGET, *(f"HTTP_{name}" for name in ASKING)]), TEXT
)
RESPONSE = st.lists(st.tuples(st.sampled_from(SAYING), TEXT))


@given(st.integers(100, 599), RESPONSE, REQUEST, st.floats(0, 1e10), st.floats(0, 1e10))
def test_rules_never_raise(
    status: int,
    lines: list[tuple[str, str]],
    environ: dict[str, str],
    now: float,
    later: float,
) -> None:
    """Any response and any request have an outcome."""
    combined = fields.combine(lines)
    found = policy.policy(status, combined, now, targets=["CDN-Cache-Control"])
    assert found.born <= now
    assert found.lifetime >= 0
    policy.refusal(status, combined, found, now)
    names = variants.vary_names(combined.get("vary")) or ()
    entry = policy.make_entry(
        f"{status} X", lines, b"body", combined, found,
        vary=names,
    )  # fmt: skip
    policy.use(entry, later, control.wishes(environ))
    policy.stands_in(entry, later, 60)
    variants.variant_keys("key", "salt", entry.vary, environ)
    for method in ("GET", "PUT"):
        conditions.precondition(environ, method, entry.etag, entry.last_modified)
    conditions.wanted_range(environ, entry.etag, entry.last_modified)


@given(TEXT, st.integers(0, 50))
def test_ranges(value: str, size: int) -> None:
    """Ranges lie within the body, and none is answered twice."""
    found = conditions.spans(f"bytes={value}", size)
    covered = 0
    for first, last in found or []:
        assert 0 <= first <= last < size
        covered += last - first + 1
    assert covered <= size


@given(REQUEST, REQUEST)
def test_keys(one: dict[str, str], other: dict[str, str]) -> None:
    """Two targets share a key where all of their parts are the same, and only there."""
    base = {"wsgi.url_scheme": "http", "SERVER_NAME": "h", "SERVER_PORT": "80"}
    made = [keys.of_request({**base, **environ}) for environ in (one, other)]

    def parts(environ: dict[str, str]) -> tuple[str, ...]:
        host = environ.get("HTTP_HOST") or "h:80"
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        raw = keys.encoded_slashes(environ.get("REQUEST_URI", ""))
        return (
            host.lower().removesuffix(":80"), path, environ.get("QUERY_STRING", ""), raw
        )  # fmt: skip

    assert (made[0] == made[1]) == (parts(one) == parts(other))


@given(st.binary(max_size=200), TEXT)
def test_decoding(data: bytes, name: str) -> None:
    """Foreign bytes are never an item."""
    assert decode(data, name, [b"secret"]) is None


@given(TEXT)
def test_urls(path: str) -> None:
    """Any path of a URL can be purged."""
    keys.of_url(f"http://h/{path}".replace("[", "").replace("]", ""))


SECONDS = st.integers(0, 100)
FLAGS = ["no-cache", "no-store", "private", "public", "must-revalidate"]


def directives(numbers: list[str], flags: list[str]) -> st.SearchStrategy[Any]:
    """Return directives, few of them flags, for most flags forbid everything."""
    return st.builds(
        lambda some, flag: {**some, **dict.fromkeys(flag)},
        st.fixed_dictionaries({}, optional=dict.fromkeys(numbers, SECONDS)),
        st.lists(st.sampled_from(flags), max_size=1),
    )


SAID = directives(["max-age", "s-maxage", "stale-while-revalidate"], FLAGS)
ASKED = directives(["max-age", "min-fresh", "max-stale"], ["no-cache", "no-store", "x"])


def may_reuse(
    said: dict[str, Any],
    asked: dict[str, Any],
    expires: int | None,
    age: int,
    elapsed: int,
    obstacle: str,
) -> bool:
    """Return whether RFC 9111 lets a second request be served the first's."""
    if said.keys() & {"no-store", "private", "no-cache"}:
        return False
    if obstacle in ("cookie", "other"):
        return False
    if obstacle == "auth" and not said.keys() & {
        "public",
        "must-revalidate",
        "s-maxage",
    }:
        return False
    if "no-cache" in asked:
        return False
    # What says nothing is stale at once, and served stale where that is allowed.
    lifetime = said.get("s-maxage", said.get("max-age", expires)) or 0
    now = age + elapsed
    if now > asked.get("max-age", now):
        return False
    if now < lifetime and lifetime - now >= asked.get("min-fresh", 0):
        return True
    if said.keys() & {"must-revalidate", "s-maxage"} or asked.get("min-fresh"):
        return False
    late = now - lifetime
    stale = late <= asked["max-stale"] if asked.get("max-stale") else False
    return stale or late < said.get("stale-while-revalidate", 0)


@given(
    said=SAID, asked=ASKED, expires=st.none() | SECONDS, age=SECONDS,
    elapsed=SECONDS, obstacle=st.sampled_from(["", "", "", "auth", "cookie", "other"]),
)  # fmt: skip
def test_model(
    said: dict[str, Any], asked: dict[str, Any], expires: int | None, age: int,
    elapsed: int, obstacle: str,
) -> None:  # fmt: skip
    """The app reuses exactly what an independent reading of the RFC allows.

    It stores nothing that is stale from the start and has no validator, so that it may
    reuse less of what is served stale.
    """
    clock = Clock()
    clock.now = float(int(clock.now))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        patch.setattr("cachelib.simple.time", clock)
        origin = Origin(preemptive_recache_callback=lambda task: None)
        headers = {"Age": str(age), "Vary": "Foo", "ETag": '"a"'}
        headers["Date"] = http_date(clock.now)
        if expires is not None:
            headers["Expires"] = http_date(clock.now + expires)
        if obstacle == "cookie":
            headers["Set-Cookie"] = "a=b"
        origin.says(written(said), headers=headers)
        first = {"Authorization": "x"} if obstacle == "auth" else {}
        origin.get(Foo="1", **first)
        clock.move(elapsed)
        response = origin.get(
            Foo="2" if obstacle == "other" else "1", Cache_Control=written(asked)
        )
    expected = may_reuse(said, asked, expires, age, elapsed, obstacle)
    assert (response.text == "made 1") == expected


def written(directives: dict[str, Any]) -> str:
    """Write directives."""
    return ", ".join(
        name if value is None else f"{name}={value}"
        for name, value in directives.items()
    )


def test_every_use() -> None:
    """The outcomes are three."""
    assert {use.value for use in Use} == {"fresh", "refresh", "validate"}
