"""Requests through the whole app: what is stored, and when it is used."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from flask import Response
from werkzeug.http import http_date


if TYPE_CHECKING:
    from planned import Clock
    from planned import Origin


@pytest.fixture(params=[False, True], ids=["hooks", "fast"])
def origin(request: pytest.FixtureRequest, make_origin: type[Origin]) -> Origin:
    """An app with the cache, with and without the fast path."""
    return make_origin(fast=request.param)


def stale(now: float) -> str:
    """Return a date that is 5 seconds away."""
    return http_date(now + 5)


def test_hit(origin: Origin, clock: Clock) -> None:
    """The second request gets the first one's page, with its age."""
    origin.says("max-age=60")
    first = origin.get()
    clock.move(10)
    second = origin.get()
    assert first.headers["Cache-Status"] == "flask-webcache; fwd=uri-miss; stored"
    assert first.headers["X-Cache"] == "miss"
    assert second.text == "made 1"
    assert second.headers["Age"] == "10"
    assert second.headers["Cache-Status"] == "flask-webcache; hit; ttl=50"
    assert second.headers["X-Cache"] == "hit"
    assert "Age" not in first.headers


@pytest.mark.parametrize(
    ("fields", "before", "after"),
    [
        ({"Cache-Control": "max-age=60"}, 59, 61),
        ({"Cache-Control": "max-age=1, s-maxage=60"}, 59, 61),
        ({"Cache-Control": "max-age=60", "Age": "50"}, 9, 11),
        ({"Cache-Control": "max-age=60", "Age": "nonsense"}, 59, 61),
        ({"Cache-Control": "max-age=60", "Expires": "0"}, 59, 61),
        ({"Cache-Control": 'max-age="60"'}, 59, 61),
    ],
)
def test_lifetime(
    origin: Origin, clock: Clock, fields: dict[str, str], before: int, after: int
) -> None:
    """A response is fresh for as long as it says, less the age that it came with."""
    origin.says(headers=fields)
    origin.get()
    clock.move(before)
    assert origin.get().text == "made 1"
    clock.move(after - before)
    assert origin.get().text == "made 2"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Cache-Control": "public"},
        {"Cache-Control": "no-store, max-age=60"},
        {"Cache-Control": "No-Store, max-age=60"},
        {"Cache-Control": "private, max-age=60"},
        {"Cache-Control": "max-age=0"},
        {"Cache-Control": "max-age=-60"},
        {"Cache-Control": "max-age=60.5"},
        {"Cache-Control": "max-age"},
        {"Cache-Control": "s-maxage=0, max-age=60"},
        {"Cache-Control": "max-age=60, no-cache"},
        {"Cache-Control": "max-age=60", "Age": "60"},
        {"Cache-Control": "max-age=60", "Vary": "*"},
        {"Cache-Control": "max-age=60", "Vary": ", *"},
        {"Cache-Control": "max-age=60", "Set-Cookie": "a=b"},
        {"Expires": "0"},
        {"Expires": "Thu, 18 Aug 2050 02:01:18 UTC"},
        {"Expires": "Thu, 18 Aug 1950 02:01:18 GMT"},
    ],
    ids=str,
)
def test_not_reused(origin: Origin, fields: dict[str, str]) -> None:
    """Nothing is reused without being asked, or against what it says."""
    origin.says(headers=fields)
    origin.get()
    response = origin.get()
    assert response.text == "made 2"
    assert "Age" not in response.headers or "Age" in fields
    assert "; stored" not in response.headers["Cache-Status"]


@pytest.mark.parametrize("status", [206, 304, 412, 416])
def test_answers_to_conditions_are_not_stored(origin: Origin, status: int) -> None:
    """A response to a range or a condition answers no other request."""
    origin.says("max-age=60", "x", status)
    origin.get(Range="bytes=0-0")
    origin.says("max-age=60", "whole")
    assert origin.get().text == "whole"


def test_expires(origin: Origin, clock: Clock) -> None:
    """Expires counts from Date, or from now where Date is invalid."""
    origin.says(Date="nonsense", Expires=http_date(clock.now + 60))
    origin.get()
    assert origin.get().text == "made 1"
    origin.says(Date=http_date(clock.now - 10), Expires=http_date(clock.now + 5))
    origin.get("/slow")
    clock.move(6)
    assert origin.get("/slow").text == "made 3"


@pytest.mark.parametrize(
    ("status", "fields", "fresh"),
    [
        (200, {}, True),
        (404, {}, True),
        (301, {}, True),
        (201, {}, False),
        (403, {}, False),
        (599, {}, False),
        (599, {"Cache-Control": "public"}, True),
    ],
)
def test_heuristic(
    origin: Origin, status: int, fields: dict[str, str], fresh: bool
) -> None:
    """Last-Modified alone makes some statuses fresh for a tenth of their age."""
    modified = http_date(datetime.now(UTC) - timedelta(days=1))
    origin.says(None, None, status, {"Last-Modified": modified, **fields})
    origin.get()
    assert (origin.get().text == "made 1") is fresh


def test_default_expiration(make_origin: type[Origin]) -> None:
    """The old package's default can be configured, but not for errors."""
    origin = make_origin(default_expiration_seconds=300)
    origin.says()
    origin.get()
    assert origin.get().text == "made 1"
    origin.says(status=404)
    origin.get("/lost")
    assert origin.get("/lost").text == "made 3"


@pytest.mark.parametrize(
    ("status", "said", "stored"),
    [
        (200, "no-store, max-age=60, must-understand", True),
        (599, "max-age=60, must-understand", False),
        (599, "max-age=60", True),
        (500, "max-age=60", True),
    ],
)
def test_must_understand(origin: Origin, status: int, said: str, stored: bool) -> None:
    """Any status with freshness is stored, except with must-understand."""
    origin.says(said, status=status)
    origin.get()
    assert (origin.get().text == "made 1") is stored


@pytest.mark.parametrize(
    ("cdn", "said", "stored"),
    [
        ("max-age=60", None, True),
        ("max-age=60", "no-store", True),
        ("max-age=60", "max-age=0", True),
        ("max-age=99999999999", None, True),
        ("max-age=0", "max-age=60", False),
        ("no-store", "max-age=60", False),
        ("no-cache", "max-age=60", False),
        ("private", "max-age=60", False),
        ("max-age=60, &&&&&", "no-store", False),
        ('max-age="60"', "no-store", False),
        ("MaX-aGe=60", None, False),
        ("&&&", "max-age=60", True),
    ],
)
def test_targeted(
    make_origin: type[Origin], cdn: str, said: str | None, stored: bool
) -> None:
    """A targeted field takes the place of Cache-Control and Expires (RFC 9213)."""
    origin = make_origin(targeted_fields=["CDN-Cache-Control"])
    origin.says(said, CDN_Cache_Control=cdn, Expires="0")
    origin.get()
    response = origin.get()
    assert (response.text == "made 1") is stored
    assert response.headers["CDN-Cache-Control"] == cdn


def test_not_targeted(origin: Origin) -> None:
    """A field for others is ignored; the one for this cache is not."""
    origin.says("max-age=60", CDN_Cache_Control="no-store")
    origin.get()
    assert origin.get().text == "made 1"
    origin.says("no-store", Webcache_Cache_Control="max-age=60")
    origin.get("/here")
    assert origin.get("/here").text == "made 2"


def test_vary(origin: Origin, clock: Clock) -> None:
    """A resource keeps several responses, each for matching requests."""
    origin.says("max-age=60", Vary="Foo")
    origin.get(Foo="1")
    second = origin.get(Foo="2")
    assert second.headers["Cache-Status"] == "flask-webcache; fwd=vary-miss; stored"
    assert origin.get(Foo="1").text == "made 1"
    assert origin.get(Foo="2", Other="x").text == "made 2"
    assert origin.get().text == "made 3"
    clock.move(61)
    assert origin.get(Foo="1").text == "made 4"


def test_vary_changes(origin: Origin) -> None:
    """Each response brings its own Vary; the latest that fits is used."""
    origin.says("max-age=60", "for all")
    origin.get()
    origin.says("max-age=60", "for de", Vary="Accept-Language")
    origin.get(Accept_Language="de", Cache_Control="no-cache")
    origin.says("max-age=60", "for fr", Vary="Accept-Language")
    assert origin.get(Accept_Language="fr").text == "for fr"
    assert origin.get(Accept_Language="de").text == "for de"
    origin.says("max-age=60", "for x", Vary="X")
    origin.get(X="1", Accept_Language="it")
    assert origin.get(X="1", Accept_Language="it").text == "for x"
    assert origin.get(X="2", Accept_Language="fr").text == "for fr"


def test_vary_values_do_not_run_together(origin: Origin) -> None:
    """Values of several fields are told apart."""
    origin.says("max-age=60", Vary="X, Y")
    origin.get(X="1Y2", Y="")
    assert origin.get(X="1", Y="2Y").text == "made 2"


def test_head(origin: Origin) -> None:
    """HEAD is answered from a stored GET, and stores nothing itself."""
    origin.says("max-age=60")
    assert origin.client.head("/").headers["Cache-Status"].endswith("detail=method")
    assert origin.get().text == "made 2"
    response = origin.client.head("/")
    assert response.headers["X-Cache"] == "hit"
    assert response.headers["Content-Length"] == "6"
    assert response.data == b""


def test_automatic_etag(origin: Origin) -> None:
    """A complete response gets a tag, which answers 304 whether it is stored or not."""
    for said, cached in [("max-age=60", "hit"), ("max-age=0", "miss")]:
        origin.says(said, "same")
        etag = origin.get(f"/{cached}").headers["ETag"]
        response = origin.get(f"/{cached}", If_None_Match=etag)
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == etag
        assert "Content-Length" not in response.headers
        assert "Content-Type" not in response.headers
        assert response.headers["X-Cache"] == cached
        assert origin.get(f"/{cached}", If_None_Match='"x"').status_code == 200
    origin.says("no-store")
    assert "ETag" not in origin.get("/x").headers


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"If-Modified-Since": "Thu, 02 Jan 2020 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}, 200),
        ({"If-None-Match": '"x", "tag"'}, 304),
        (
            {
                "If-None-Match": '"x"',
                "If-Modified-Since": "Thu, 02 Jan 2020 00:00:00 GMT",
            },
            200,
        ),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}, 412),
        ({"Range": "bytes=0-1"}, 206),
        ({"Range": "bytes=0-1, 3-4"}, 206),
        ({"Range": "bytes=0-1", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=99-"}, 416),
        ({"Range": "lines=1-2"}, 200),
    ],
    ids=str,
)
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "live"])
def test_conditions(
    origin: Origin, stored: bool, condition: dict[str, str], status: int
) -> None:
    """Conditions and ranges are answered for stored and for live responses."""
    modified = "Thu, 02 Jan 2020 00:00:00 GMT"
    said = "max-age=60" if stored else "no-store"
    origin.says(said, "body!", ETag='"tag"', Last_Modified=modified)
    origin.get()
    response = origin.client.get("/", headers=condition)
    assert response.status_code == status
    assert (response.headers["X-Cache"] == "hit") is stored
    if status == 206 and "," not in condition["Range"]:
        assert response.text == "bo"
        assert response.headers["Content-Range"] == "bytes 0-1/5"
        assert response.headers["Content-Length"] == "2"
    if status == 416:
        assert response.headers["Content-Range"] == "bytes */5"


def test_no_conditions_on_errors(origin: Origin) -> None:
    """Conditions are about successful responses."""
    origin.says("max-age=60", "x", 404, ETag='"a"')
    for _ in range(2):
        assert origin.get(If_None_Match='"a"').status_code == 404
        assert origin.get(Range="bytes=0-0").status_code == 404


def test_accept_ranges_none(origin: Origin) -> None:
    """A view that accepts no ranges gets none cut."""
    origin.says("max-age=60", "body", Accept_Ranges="none")
    assert origin.get(Range="bytes=0-0").text == "body"


def test_validation(origin: Origin, clock: Clock) -> None:
    """A stale response is validated by the view, whose 304 freshens what is stored."""
    origin.says(
        "max-age=10", "body", ETag='"a"', X="old", Y="kept", Content_Encoding="x"
    )
    origin.get()
    clock.move(11)
    origin.says("max-age=20", b"", 304, ETag='"other"', X="new", Content_Encoding="y")
    response = origin.get()
    assert origin.seen[1]["If-None-Match"] == '"a"'
    assert (response.status_code, response.text) == (200, "body")
    assert response.headers["Cache-Status"] == (
        "flask-webcache; fwd=stale; fwd-status=304; stored"
    )
    clock.move(19)
    response = origin.get()
    assert response.headers["X-Cache"] == "hit"
    fields = [response.headers[name] for name in ("X", "Y", "ETag", "Content-Encoding")]
    assert fields == ["new", "kept", '"a"', "x"]
    assert len(origin.seen) == 2


def test_validation_keeps_the_request_s_conditions(
    origin: Origin, clock: Clock
) -> None:
    """The view sees the stored validators, and the client gets what it asked for."""
    origin.says("max-age=10", "body", ETag='"a"')
    origin.get()
    clock.move(11)
    origin.says("max-age=20", b"", 304, ETag='"a"')
    assert origin.get(If_None_Match='"mine"', If_Match='"a"').status_code == 200
    assert origin.seen[1]["If-None-Match"] == '"a"'
    assert "If-Match" not in origin.seen[1]


def test_validation_by_date_alone(origin: Origin, clock: Clock) -> None:
    """A tag made here is nothing that the view could be asked about."""
    modified = "Thu, 02 Jan 2020 00:00:00 GMT"
    origin.says("max-age=10", "body", Last_Modified=modified, Date=http_date(clock.now))
    tag = origin.get().headers["ETag"]
    clock.move(11)
    origin.says("max-age=20", b"", 304)
    response = origin.get()
    assert origin.seen[1]["If-Modified-Since"] == modified
    assert "If-None-Match" not in origin.seen[1]
    assert (response.text, response.headers["ETag"]) == ("body", tag)
    clock.move(10)
    assert origin.get().headers["Age"] == "10"


def test_validation_finds_a_change(origin: Origin, clock: Clock) -> None:
    """Another answer than 304 takes the place of what is stored."""
    origin.says("max-age=10", ETag='"a"')
    origin.get()
    clock.move(11)
    origin.says("max-age=10", ETag='"b"')
    assert origin.get().text == "made 2"
    assert origin.get().headers["ETag"] == '"b"'


def test_foreign_304(origin: Origin, clock: Clock) -> None:
    """A 304 to the client's own condition goes to the client as it is."""
    origin.says("max-age=10", b"", 304, ETag='"a"')
    assert origin.get(If_None_Match='"a"').status_code == 304
    origin.says("max-age=10")
    origin.get()
    clock.move(11)
    origin.says("max-age=10", b"", 304, ETag='"a"')
    assert origin.get(If_None_Match='"a"').status_code == 304


def test_no_cache_is_validated_every_time(origin: Origin) -> None:
    """A no-cache response is stored, and never used without validation."""
    origin.says("no-cache, max-age=60", "body", ETag='"a"')
    origin.get()
    origin.says("no-cache, max-age=60", b"", 304)
    assert origin.get().text == "body"
    assert origin.get().text == "body"
    assert len(origin.seen) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    ("said", "grace", "after", "stands"),
    [
        ("max-age=1", 0, 5, False),
        ("max-age=1", 60, 5, True),
        ("max-age=1", 60, 99, False),
        ("max-age=1, stale-if-error=60", 0, 5, True),
        ("max-age=1, stale-if-error=60", 0, 99, False),
        ("max-age=1, stale-if-error=0", 60, 5, False),
        ("max-age=1, must-revalidate", 60, 5, False),
        ("max-age=1, proxy-revalidate", 60, 5, False),
        ("max-age=1, no-cache", 60, 5, False),
        ("s-maxage=1, stale-if-error=60", 60, 5, False),
    ],
)
def test_stale_if_error(
    make_origin: type[Origin],
    clock: Clock,
    status: int,
    said: str,
    grace: int,
    after: int,
    stands: bool,
) -> None:
    """A stale response stands in for an error where that is allowed (RFC 5861)."""
    origin = make_origin(stale_on_error=grace)
    origin.says(said, "good", ETag='"a"')
    origin.get()
    clock.move(1 + after)
    origin.says(None, "bad", status)
    response = origin.get()
    assert response.text == ("good" if stands else "bad")
    assert response.status_code == (200 if stands else status)
    assert (response.headers["X-Cache"] == "hit") is stands
    assert "Age" in response.headers or not stands


def test_exception_counts_as_error(origin: Origin, clock: Clock) -> None:
    """A view that raises is an error as well."""
    origin.says("max-age=1, stale-if-error=60", "good")
    origin.get()
    clock.move(2)
    origin.answer = lambda: 1 / 0
    response = origin.get()
    assert response.text == "good"
    assert response.headers["Cache-Status"] == (
        "flask-webcache; fwd=stale; fwd-status=500; detail=error"
    )


def test_stored_error_does_not_stand_in(
    make_origin: type[Origin], clock: Clock
) -> None:
    """An error is not replaced by an older error."""
    origin = make_origin(stale_on_error=60)
    origin.says("max-age=1", "old error", 503)
    origin.get()
    clock.move(2)
    origin.says(None, "new error", 503)
    assert origin.get().text == "new error"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("status", "gone"), [(200, True), (303, True), (404, False), (500, False)]
)
def test_invalidation(origin: Origin, method: str, status: int, gone: bool) -> None:
    """A successful unsafe request purges its URL, Location and Content-Location."""
    origin.says("max-age=60", Vary="Foo")
    paths = ["/a", "/b", "/c", "/d"]
    for path in paths:
        origin.get(path)
    origin.says(
        None,
        "done",
        status,
        Location="/b",
        Content_Location="http://localhost/c",
    )
    response = origin.client.open("/a", method=method)
    assert response.headers["Cache-Status"] == "flask-webcache; fwd=method"
    origin.says("max-age=60", "new")
    texts = [origin.get(path).text for path in paths]
    assert texts == (["new"] * 3 if gone else ["made 1", "made 2", "made 3"]) + [
        "made 4"
    ]


def test_invalidation_stays_at_home(origin: Origin) -> None:
    """A URL of another host is not purged from here."""
    origin.says("max-age=60")
    origin.client.get("/", base_url="http://other.example")
    origin.says(None, "done", Location="http://other.example/")
    origin.client.post("/x")
    response = origin.client.get("/", base_url="http://other.example")
    assert response.headers["X-Cache"] == "hit"


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_safe_methods_purge_nothing(origin: Origin, method: str) -> None:
    """OPTIONS and TRACE change nothing."""
    origin.says("max-age=60")
    origin.get()
    origin.client.open("/", method=method)
    assert origin.get().headers["X-Cache"] == "hit"


@pytest.mark.parametrize(
    ("location", "said", "stored"),
    [
        ("/", "max-age=60", True),
        ("http://localhost/", "max-age=60", True),
        ("/other", "max-age=60", False),
        ("/", "public", False),
        (None, "max-age=60", False),
    ],
)
def test_post_answers_get(
    origin: Origin, location: str | None, said: str, stored: bool
) -> None:
    """A POST whose response is what GET would return answers the next GET."""
    fields = {"Content-Location": location} if location else {}
    origin.says(said, headers=fields)
    status = origin.client.post("/").headers["Cache-Status"]
    assert status.endswith("; stored") is stored
    assert (origin.get().text == "made 1") is stored


@pytest.mark.parametrize(
    "condition", [{"If-Match": '"x"'}, {"If-Match": '"a"'}, {"If-None-Match": "*"}]
)
def test_unsafe_precondition(origin: Origin, condition: dict[str, str]) -> None:
    """Conditions of a write are the view's to evaluate (RFC 9111, section 4.3.2)."""
    origin.says("max-age=60", ETag='"a"')
    origin.get()
    assert origin.client.put("/", headers=condition).status_code == 200
    assert len(origin.seen) == 2


@pytest.mark.parametrize(("said", "status"), [("max-age=1", 200), ("max-age=60", 404)])
def test_unsafe_precondition_unknown(
    origin: Origin, clock: Clock, said: str, status: int
) -> None:
    """If nothing current is stored, the view decides."""
    assert origin.client.put("/", headers={"If-Match": '"x"'}).status_code == 200
    origin.says(said, "x", status, ETag='"a"')
    origin.get()
    clock.move(5)
    assert origin.client.put("/", headers={"If-Match": '"x"'}).status_code == status


@pytest.mark.parametrize(
    ("asked", "after", "stored"),
    [
        ({"Cache-Control": "no-cache"}, 0, False),
        ({"Pragma": "no-cache"}, 0, False),
        ({"Pragma": "no-cache", "Cache-Control": "x"}, 0, True),
        ({"Pragma": "x"}, 0, True),
        ({"Cache-Control": "max-age=5"}, 6, False),
        ({"Cache-Control": "max-age=5"}, 4, True),
        ({"Cache-Control": "max-age=x"}, 4, True),
        ({"Cache-Control": "min-fresh=50"}, 5, True),
        ({"Cache-Control": "min-fresh=50"}, 15, False),
        ({"Cache-Control": "max-stale=9"}, 65, True),
        ({"Cache-Control": "max-stale"}, 65, True),
        ({"Cache-Control": "max-stale=3"}, 65, False),
        ({"Cache-Control": "only-if-cached"}, 0, True),
    ],
    ids=str,
)
def test_request_directives(
    origin: Origin, clock: Clock, asked: dict[str, str], after: int, stored: bool
) -> None:
    """A request's directives are obeyed."""
    origin.says("max-age=60", ETag='"a"')
    origin.get()
    clock.move(after)
    response = origin.client.get("/", headers=asked)
    assert (response.text == "made 1") is stored
    if not stored and after < 60:
        assert "fwd=request" in response.headers["Cache-Status"]


def test_only_if_cached(origin: Origin) -> None:
    """Without a stored response, only-if-cached is answered with 504."""
    response = origin.get(Cache_Control="only-if-cached")
    assert response.status_code == 504
    assert not origin.seen


def test_request_no_store(origin: Origin) -> None:
    """The response to a request with no-store is not stored."""
    origin.says("max-age=60")
    origin.get(Cache_Control="no-store")
    assert origin.get().text == "made 2"


def test_requests_without_control(make_origin: type[Origin]) -> None:
    """If clients do not control the cache, their directives are ignored."""
    origin = make_origin(request_controls_cache=False)
    origin.says("max-age=60")
    origin.get(Cache_Control="no-store")
    assert origin.get(Cache_Control="no-cache").text == "made 1"


@pytest.mark.parametrize("said", ["public", "must-revalidate", "s-maxage=60"])
def test_authorization(origin: Origin, said: str) -> None:
    """A response to Authorization is shared only if it says so."""
    origin.says("max-age=60", "secret")
    response = origin.get(Authorization="Bearer x")
    assert response.headers["Cache-Status"].endswith("detail=authorization")
    origin.says(f"max-age=60, {said}", "public")
    assert origin.get().text == "public"
    origin.get("/p", Authorization="Bearer x")
    assert origin.get("/p").headers["X-Cache"] == "hit"


def test_fields_that_are_not_stored(origin: Origin) -> None:
    """Fields of one connection, and those that may not be reused, are left out."""
    origin.says(
        'max-age=60, no-cache="A", private="b, c"',
        A="1",
        B="2",
        C="3",
        D="4",
        E="5",
        Connection="e",
        Keep_Alive="x",
    )
    origin.get()
    headers = origin.get().headers
    assert headers["D"] == "4"
    assert not set(headers.keys()) & {"A", "B", "C", "E", "Connection", "Keep-Alive"}


def test_cache_status_of_others_stays(origin: Origin) -> None:
    """The entry of an upstream cache comes first."""
    origin.says("max-age=60", Cache_Status="upstream; hit", X_Cache="upstream")
    for said in ("fwd=uri-miss; stored", "hit; ttl=59"):
        headers = origin.get().headers
        status = headers.getlist("Cache-Status")
        assert status[0] == "upstream; hit"
        assert status[1].startswith(f"flask-webcache; {said[:5]}")
        assert len(headers.getlist("X-Cache")) == 1


def test_body_limit(make_origin: type[Origin]) -> None:
    """A body over the limit is not stored."""
    origin = make_origin(max_body_bytes=5)
    origin.says("max-age=60", "123456")
    assert origin.get().headers["Cache-Status"].endswith("detail=size")
    origin.says("max-age=60", "12345")
    assert origin.get().headers["Cache-Status"].endswith("stored")


def test_exemptions(make_origin: type[Origin]) -> None:
    """Nothing of an exempt path is stored."""
    origin = make_origin(resource_exemptions=["/api/"], fast=True)
    origin.says("max-age=60")
    for path, stored in [("/api/x", False), ("/apix", True), ("/static/none", False)]:
        origin.get(path)
        assert (origin.get(path).headers["X-Cache"] == "hit") is stored
    assert "fwd=bypass" in origin.get("/api/x").headers["Cache-Status"]


def test_redirect_is_stored(origin: Origin) -> None:
    """A redirect is stored as it is sent, with its Location fit for the wire."""
    origin.says("max-age=60", b"", 302, Location="/caf\u00e9")
    first, second = origin.get(), origin.get()
    assert second.headers["X-Cache"] == "hit"
    assert first.headers["Location"] == second.headers["Location"] == "/caf%C3%A9"


def test_empty_bodies(origin: Origin) -> None:
    """No body at all is a body too."""
    for status in (200, 204):
        origin.says("max-age=60", b"", status)
        origin.get(f"/{status}")
        response = origin.get(f"/{status}")
        assert (response.status_code, response.data) == (status, b"")
        assert response.headers["X-Cache"] == "hit"


def test_unsafe_precondition_of_what_is_stale(origin: Origin, clock: Clock) -> None:
    """A stale response proves nothing about the current state."""
    origin.says("max-age=1", ETag='"a"')
    origin.get()
    clock.move(5)
    assert origin.client.put("/", headers={"If-Match": '"x"'}).status_code == 200


def test_stale_from_the_start(origin: Origin) -> None:
    """A response may be stored for nothing but to be served stale."""
    origin.says("max-age=0, stale-while-revalidate=60")
    assert origin.get().headers["Cache-Status"].endswith("stored")
    assert origin.get().text == "made 1"


def test_post_that_must_not_be_stored(origin: Origin) -> None:
    """A response to POST is stored by the same rules."""
    origin.says("max-age=60, no-store", Content_Location="/")
    assert origin.client.post("/").headers["Cache-Status"].endswith("fwd=method")


def test_304_with_date(origin: Origin, clock: Clock) -> None:
    """The Date of a 304 is the new one."""
    origin.says("max-age=10", "body", ETag='"a"', Date=http_date(clock.now))
    origin.get()
    clock.move(11)
    origin.says("max-age=10", b"", 304, Date=http_date(clock.now))
    assert origin.get().headers["Date"] == http_date(clock.now)
    clock.move(9)
    assert origin.get().headers["X-Cache"] == "hit"


def test_body_of_parts(origin: Origin) -> None:
    """A body in parts is stored as one, with its length."""
    origin.answer = lambda: Response(["a", "b"], headers={"Cache-Control": "max-age=9"})
    for _ in range(2):
        response = origin.get()
        assert response.text == "ab"
        assert response.headers["Content-Length"] == "2"
