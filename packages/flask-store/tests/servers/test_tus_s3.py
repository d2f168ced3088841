"""Uploads that resume, whose bytes wait as parts in S3."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from flask_store._tus.s3 import PART
from flask_store._tus.s3 import S3Place
from flask_store._tus.upload import MovedError
from flask_store._tus.upload import Upload
from flask_store.config import MIB
from flask_store.config import Config
from flask_store.stores.s3 import S3Store


DATA = random.Random(1).randbytes(20 * MIB + 7)


@pytest.fixture
def store(s3_session: harness.S3Server) -> S3Store:
    """A store under a prefix of its own."""
    path = {"STORE_PATH": f"parts/{uuid.uuid4().hex}"}
    return S3Store(config=Config.from_mapping({**s3_session.config, **path}))


@pytest.fixture
def place(store: S3Store) -> S3Place:
    """The place of its unfinished uploads."""
    return S3Place(store)


def new(place: S3Place, length: int | None = len(DATA)) -> Upload:
    """Begin an upload."""
    upload = Upload(id=uuid.uuid4().hex, owner="me", length=length, created=1.0)
    place.create(upload)
    return place.find(upload.id)


def blocks(data: bytes) -> Iterator[bytes]:
    """Yield data as a body comes."""
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def finish(place: S3Place, store: S3Store, upload: Upload) -> bytes:
    """Finish an upload, and return what is in the file."""
    names: list[str] = []
    place.finish(upload, lambda part: store.save(part).name, names.append)
    (name,) = names
    with store.open(name) as file:
        return file.read()


def digest(data: bytes) -> str:
    """Return a short name of data, which an error can show."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("length", [len(DATA), None], ids=["known", "deferred"])
def test_pieces_of_any_size(place: S3Place, store: S3Store, length: int | None) -> None:
    """Pieces become parts of one size, whatever sizes they have."""
    upload = new(place, length)
    offset = 0
    for size in (3 * MIB, 9 * MIB, 17, 4 * MIB, len(DATA)):
        piece = DATA[offset : offset + size]
        assert place.append(upload, offset, blocks(piece)) == offset + len(piece)
        offset += len(piece)
        assert place.offset(upload) == offset
    assert place._bytes.state(upload).sizes == (PART, PART)
    assert digest(finish(place, store, upload)) == digest(DATA)
    # Nothing else is left.
    hidden = [entry["Key"] for entry in store.bucket.list(store.key(".tus/"))]
    assert [key.rpartition(".")[2] for key in hidden] == ["json"]
    assert place.offset(place.find(upload.id)) == len(DATA) or length is None


def test_tail_of_a_killed_request(place: S3Place) -> None:
    """A tail that is part of a part by now does not count twice."""
    upload = new(place)
    place.append(upload, 0, blocks(DATA[: 3 * MIB]))

    def killed() -> Iterator[bytes]:
        yield from blocks(DATA[3 * MIB : PART + MIB])
        raise SystemExit

    with pytest.raises(SystemExit):
        place.append(upload, 3 * MIB, killed())
    assert place.offset(upload) == PART + MIB
    # As if the process had died before it could write the tail.
    store = place._store
    store.bucket.delete([store.key(f".tus/{upload.id}.tail-{PART}")])
    assert place.offset(upload) == PART
    with pytest.raises(MovedError):
        place.append(upload, PART + MIB, blocks(b"x"))


def test_requests_at_once(place: S3Place, store: S3Store) -> None:
    """Of requests for one offset with other bytes, one is taken."""
    upload = new(place, 2 * PART)

    def append(letter: int) -> bool:
        try:
            place.append(upload, 0, blocks(bytes([letter]) * 2 * PART))
        except MovedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(append, range(4))) == 1
    assert len(set(finish(place, store, upload))) == 1


@pytest.mark.parametrize(
    "sizes",
    [(6 * MIB, 5 * MIB, 3), (1, 6 * MIB), (0, 5)],
    ids=["copied", "read", "few"],
)
def test_concatenation(place: S3Place, store: S3Store, sizes: tuple[int, ...]) -> None:
    """Parts are copied by S3 where they are large enough, else read."""
    parts, start = [], 0
    for size in sizes:
        part = new(place, size)
        place.append(part, 0, blocks(DATA[start : start + size]))
        parts.append(part)
        start += size
    upload = Upload(id=uuid.uuid4().hex, owner="me", length=start, created=1.0)
    place.concatenate(upload, parts)
    upload = place.find(upload.id)
    assert place.offset(upload) == start
    assert digest(finish(place, store, upload)) == digest(DATA[:start])


def test_finish_after_a_lost_record(place: S3Place, store: S3Store) -> None:
    """A file that was named before the process died is not named twice."""
    upload = new(place, 3)
    place.append(upload, 0, iter([b"abc"]))

    def die(name: str) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        place.finish(upload, lambda part: store.save(part, "a.txt").name, die)
    names: list[str] = []
    place.finish(upload, lambda part: store.save(part, "b.txt").name, names.append)
    assert names == ["a.txt"]
    assert [file.name for file in store.list()] == ["a.txt"]
