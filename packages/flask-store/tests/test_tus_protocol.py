"""Parsing of tus requests, without a server."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_store._tus import protocol
from flask_store._tus.upload import LONGEST_METADATA
from flask_store._tus.upload import Limits
from flask_store._tus.upload import RefusedRequest
from flask_store._tus.upload import Upload
from flask_store._tus.upload import parse_metadata


ID = "0123456789abcdef" * 2
LIMITS = Limits(max_size=1000)
UPLOAD = Upload(id=ID, owner="me", length=10)
PATCH = {"Content-Type": protocol.MEDIA_TYPE, "Upload-Offset": "0"}


def encoded(value: str) -> str:
    """Return a value as metadata holds it."""
    return base64.b64encode(value.encode()).decode()


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.1", "1.0.0 "])
def test_version(version: str) -> None:
    """Only one version of the protocol is spoken."""
    with pytest.raises(RefusedRequest, match=r"412.*send 1.0.0"):
        protocol.check_version({"Tus-Resumable": version})
    protocol.check_version({"Tus-Resumable": "1.0.0"})


def test_method_override() -> None:
    """The overriding method counts."""
    assert protocol.method_of("POST", {"X-HTTP-Method-Override": "patch"}) == "PATCH"
    assert protocol.method_of("PATCH", {}) == "PATCH"


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({}, 400, "Upload-Length is ''"),
        ({"Upload-Length": "-1"}, 400, "Upload-Length is '-1'"),
        ({"Upload-Length": "1e3"}, 400, "Upload-Length is '1e3'"),
        ({"Upload-Length": "٣"}, 400, "Upload-Length is '٣'"),
        ({"Upload-Length": "9" * 5000}, 400, "Upload-Length is '999"),
        ({"Upload-Length": "1001"}, 413, "Upload-Length is 1001: at most 1000"),
        ({"Upload-Defer-Length": "2"}, 400, "Upload-Defer-Length is '2': send 1"),
        ({"Upload-Defer-Length": "1", "Upload-Length": "1"}, 400, "send one"),
        ({"Upload-Concat": "final;"}, 400, "name 1 to 1000 uploads, not 0"),
        ({"Upload-Concat": "final;/x/a"}, 400, "'/x/a' is not the URL of an upload"),
        (
            {"Upload-Concat": "final;../../etc/passwd"},
            400,
            "is not the URL of an upload",
        ),
        ({"Upload-Concat": f"final;/f/{ID}%00"}, 400, "is not the URL of an upload"),
        ({"Upload-Concat": "other"}, 400, "Upload-Concat is 'other'"),
        ({"Upload-Concat": f"final;/f/{ID}", "Upload-Length": "1"}, 400, "leave it"),
        ({"Upload-Length": "1", "Upload-Metadata": "a"}, None, ""),
        ({"Upload-Length": "1", "Upload-Metadata": "a !"}, 400, "'a' must appear once"),
        (
            {"Upload-Length": "1", "Upload-Metadata": "a YQ==,a YQ=="},
            400,
            "appear once",
        ),
        ({"Upload-Length": "1", "Upload-Metadata": "ä YQ=="}, 400, "Upload-Metadata"),
        ({"Upload-Length": "1", "Upload-Metadata": "a " + "A" * 5000}, 400, "4096"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_creation_is_checked(
    fields: dict[str, str], status: int | None, named: str
) -> None:
    """A wrong field of a creation is refused, and named."""
    if status is None:
        assert protocol.read_creation(fields, LIMITS).length == 1
        return
    with pytest.raises(RefusedRequest) as caught:
        protocol.read_creation(fields, LIMITS)
    assert caught.value.status == status
    assert named in caught.value.reason


def test_creation() -> None:
    """A length, a deferred one, and parts by absolute and relative URLs are read."""
    assert protocol.read_creation({"Upload-Length": "0"}, LIMITS).length == 0
    assert protocol.read_creation({"Upload-Defer-Length": "1"}, LIMITS).length is None
    final = {"Upload-Concat": f"final;/f/{ID} https://x.test/f/{ID}/"}
    assert protocol.read_creation(final, LIMITS).parts == (ID, ID)


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"Content-Type": "text/plain"}, 415, "Content-Type is 'text/plain'"),
        ({"Content-Type": ""}, 415, "Content-Type is ''"),
        ({"Upload-Offset": ""}, 400, "Upload-Offset is ''"),
        ({"Upload-Offset": "+1"}, 400, "Upload-Offset is '+1'"),
        ({"Upload-Length": "11"}, 400, "Upload-Length is 11: it was 10 before"),
        ({"Upload-Checksum": "crc32 AAAA"}, 400, "Upload-Checksum: use one of sha1"),
        ({"Upload-Checksum": "sha1 %"}, 400, "Upload-Checksum: encode it in Base64"),
        ({"Upload-Checksum": "sha1"}, None, ""),
        ({"Content-Type": protocol.MEDIA_TYPE.upper() + "; a=b"}, None, ""),
        ({"Upload-Length": "10"}, None, ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_appending_is_checked(
    fields: dict[str, str], status: int | None, named: str
) -> None:
    """A wrong field of a PATCH is refused, and named."""
    if status is None:
        assert protocol.read_appending({**PATCH, **fields}, UPLOAD, LIMITS).offset == 0
        return
    with pytest.raises(RefusedRequest) as caught:
        protocol.read_appending({**PATCH, **fields}, UPLOAD, LIMITS)
    assert caught.value.status == status
    assert named in caught.value.reason


def test_final_takes_no_bytes() -> None:
    """A PATCH of a final upload is forbidden."""
    final = Upload(id=ID, owner="me", length=10, concat=f"final;/f/{ID}")
    with pytest.raises(RefusedRequest, match="403"):
        protocol.read_appending(PATCH, final, LIMITS)


@pytest.mark.parametrize(
    "change", [{"concat": ""}, {"owner": "you"}], ids=["no-part", "another's"]
)
def test_parts_are_checked(change: dict[str, Any]) -> None:
    """Only complete partial uploads of the same owner are joined."""
    part = Upload(id=ID, owner="me", length=10, concat="partial")
    assert protocol.total([(part, 10)] * 2, "me") == 20
    with pytest.raises(RefusedRequest, match="is not a partial upload"):
        protocol.total([(replace(part, **change), 10)], "me")
    with pytest.raises(RefusedRequest, match="is not complete"):
        protocol.total([(part, 9)], "me")


@given(st.dictionaries(st.from_regex(r"[!-+\--~]{1,20}", fullmatch=True), st.text()))
def test_metadata_round_trip(values: dict[str, str]) -> None:
    """Every value comes back, whatever its letters are."""
    try:
        raw = ",".join(f"{key} {encoded(value)}" for key, value in values.items())
    except UnicodeEncodeError:
        return
    if len(raw) <= LONGEST_METADATA:
        assert parse_metadata(raw, strict=True) == values


@given(st.text())
def test_metadata_never_fails_otherwise(raw: str) -> None:
    """Hostile metadata is refused with a status, and read without an error later."""
    parse_metadata(raw)
    with contextlib.suppress(RefusedRequest):
        parse_metadata(raw, strict=True)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("", "file"),
        (f"filename {encoded('a/b.txt')}", "b.txt"),
        (f"name {encoded('ä.txt')},type {encoded('null')}", "ä.txt"),
        (f"filename {encoded('../../etc/passwd')}", "passwd"),
        (f"filename {encoded('con.txt')}", "_con.txt"),
        ("filename", "file"),
    ],
)
def test_filename(raw: str, name: str) -> None:
    """The client's name is made safe."""
    assert Upload(id=ID, owner="", length=1, raw_metadata=raw).filename == name
