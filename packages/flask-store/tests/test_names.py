"""Names that clients and applications choose, and how they are made safe."""

from __future__ import annotations

import io
import re
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import FileStorage

from flask_store import InvalidNameError
from flask_store import _names
from flask_store.config import Config
from flask_store.stores.base import BaseStore
from flask_store.stores.local import LocalStore
from flask_store.stores.memory import MemoryStore
from flask_store.stores.s3 import S3Store


#: What a client sends, and what the file is called.
TABLE = [
    # Ordinary names, of all the world.
    ("localfile.jpg", "localfile.jpg"),
    ("My Holiday Photo.JPG", "My Holiday Photo.JPG"),
    ("archive.tar.gz", "archive.tar.gz"),
    ("no-extension", "no-extension"),
    ("Übergröße.pdf", "Übergröße.pdf"),
    ("日本語のファイル.txt", "日本語のファイル.txt"),
    ("Документ.docx", "Документ.docx"),
    ("ملف.pdf", "ملف.pdf"),
    ("קובץ.txt", "קובץ.txt"),
    ("ไฟล์.txt", "ไฟล์.txt"),
    ("मेरी फ़ाइल.txt", unicodedata.normalize("NFC", "मेरी फ़ाइल.txt")),
    ("파일.hwp", "파일.hwp"),
    ("emoji-😀.png", "emoji-😀.png"),
    ("👨\u200d👩\u200d👧.png", "👨\u200d👩\u200d👧.png"),
    ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),
    ("cafe\u0301.txt", "café.txt"),
    # What URLs, shells and databases take for something else.
    ("a#b?c%41&d=e+f;g.txt", "a#b_c%41&d=e+f;g.txt"),
    ("100%.txt", "100%.txt"),
    ("it's $HOME `id`.txt", "it's $HOME `id`.txt"),
    ("'; DROP TABLE files; --.txt", "'; DROP TABLE files; --.txt"),
    ("a<script>.html", "a_script_.html"),
    ('"quoted".txt', "_quoted_.txt"),
    ("pipe|star*.txt", "pipe_star_.txt"),
    # Paths, of which the last part counts.
    ("../../etc/passwd", "passwd"),
    ("..\\..\\windows\\system.ini", "system.ini"),
    ("/etc/shadow", "shadow"),
    ("C:\\fakepath\\photo.jpg", "photo.jpg"),
    ("C:photo.jpg", "C_photo.jpg"),
    ("\\\\server\\share\\x.doc", "x.doc"),
    ("dir/sub/name.txt", "name.txt"),
    ("....//....//x.txt", "x.txt"),
    ("..%2f..%2fx.txt", "%2f..%2fx.txt"),
    ("tenant2/../tenant1/x.txt", "x.txt"),
    ("http://evil.example/x.txt", "x.txt"),
    ("file:///etc/passwd", "passwd"),
    ("javascript:alert(1)", "javascript_alert(1)"),
    ("file.txt:hidden:$DATA", "file.txt_hidden_$DATA"),
    ("x.txt/", "file"),
    ("a\u2215b\uff0fc.txt", "a\u2215b\uff0fc.txt"),
    # Nothing left.
    ("", "file"),
    (None, "file"),
    (".", "file"),
    ("..", "file"),
    ("...", "file"),
    ("   ", "file"),
    ("/", "file"),
    ("\0", "file"),
    # Hidden, and what looks like an option.
    (".htaccess", "htaccess"),
    ("..png", "png"),
    (".spool-0123", "spool-0123"),
    ("-rf", "rf"),
    ("--help.txt", "help.txt"),
    # Characters that are not seen, or turn the name around.
    ("a\0b.txt", "ab.txt"),
    ("line\r\nbreak.txt", "line break.txt"),
    ("tab\tbed.txt", "tab bed.txt"),
    ("invoice\u202egpj.exe", "invoicegpj.exe"),
    ("zero\u200bwidth\ufeff.txt", "zerowidth.txt"),
    ("no\u00a0break  spaces.txt", "no break spaces.txt"),
    ("sur\udcffrogate.txt", "surrogate.txt"),
    ("private\ue000.txt", "private.txt"),
    # What Windows takes for a device, or drops.
    ("CON", "_CON"),
    ("nul.txt", "_nul.txt"),
    ("COM1.tar.gz", "_COM1.tar.gz"),
    ("lpt¹.txt", "_lpt¹.txt"),
    ("aux .txt", "_aux.txt"),
    ("console.txt", "console.txt"),
    ("trailing.txt. . .", "trailing.txt"),
    (" space .txt ", "space.txt"),
    # Too long: the stem is cut, between characters, and the extension stays.
    ("a" * 300 + ".txt", "a" * 228 + ".txt"),
    ("é" * 200 + ".txt", "é" * 114 + ".txt"),
    ("😀" * 100, "😀" * 58),
    ("a." + "b" * 300, "a." + "b" * 230),
]
REFUSED_CHARACTERS = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')


@pytest.fixture(params=["local", "memory", *(["s3"] if find_spec("harness") else [])])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStore:
    """Each kind of provider; S3 where the workspace's harness is there to run it."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "local":
        return LocalStore(config=Config(path=str(tmp_path)))
    config = {
        **request.getfixturevalue("s3_session").config,
        "STORE_PATH": uuid4().hex,
        "STORE_S3_CONDITIONAL": "always",
    }
    return S3Store(config=Config.from_mapping(config))


@pytest.mark.parametrize(
    ("sent", "name"), TABLE, ids=[repr(it)[:30] for it, _ in TABLE]
)
def test_saved_names(provider: BaseStore, sent: str | None, name: str) -> None:
    """A client's name becomes a safe name, under which the file is found."""
    upload = FileStorage(io.BytesIO(b"x"))
    upload.filename = sent
    file = provider.save(upload)
    assert str(file) == name
    assert [str(found) for found in provider.list()] == [name]
    assert provider.exists(name)


def test_table_is_long_enough() -> None:
    """The table has sixty names and more."""
    assert len(TABLE) >= 60


@given(st.text(alphabet=st.characters()))
def test_any_name_becomes_safe(sent: str) -> None:
    """Whatever is sent, the name suits every platform, and stays as it is."""
    name = _names.clean(sent)
    assert name
    assert not REFUSED_CHARACTERS.search(name)
    assert name[0] not in " .-"
    assert name[-1] not in " ."
    assert len(_names.unique(name).encode()) <= 255
    assert _names.check(name) == name
    assert _names.clean(name) == name


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("avatars/me.png", "avatars/me.png"),
        ("a/b/c.txt", "a/b/c.txt"),
        ("what?/is:this.txt", "what_/is_this.txt"),
        ("nul/x.txt", "_nul/x.txt"),
        (f"{'a/' * 200}x.txt", f"{'a/' * 200}x.txt"),
    ],
    ids=["folder", "folders", "refused-characters", "device", "long"],
)
def test_chosen_paths(provider: BaseStore, path: str, cleaned: str) -> None:
    """An application may choose folders; each part is cleaned."""
    assert str(provider.save(io.BytesIO(b"x"), path)) == cleaned


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../x.txt", "starts with a dot"),
        ("a/../x.txt", "starts with a dot"),
        ("a//x.txt", "a part is empty"),
        ("a/", "a part is empty"),
        ("/etc/passwd", "must be relative"),
        ("", "must be relative"),
        ("a\\b", "a character that is not allowed"),
        ("a\0b", "a character that is not allowed"),
        ("a/" * 500 + "xx", "longer than 1001 bytes"),
        ("a/" + "x" * 256, "longer than 255 bytes"),
    ],
)
def test_refused_paths(provider: BaseStore, path: str, reason: str) -> None:
    """A path that leads elsewhere is refused, not repaired, by name."""
    with pytest.raises(InvalidNameError, match=reason) as caught:
        provider.save(io.BytesIO(b"x"), path)
    assert caught.value.name == path
    assert reason in caught.value.reason
    assert list(provider.list()) == []


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("a.txt", r"a_\w{22}\.txt"),
        ("dir/a.tar.gz", r"dir/a\.tar_\w{22}\.gz"),
        ("README", r"README_\w{22}"),
        ("dir.d/README", r"dir\.d/README_\w{22}"),
    ],
)
def test_unique(path: str, pattern: str) -> None:
    """The unique part stands before the extension, in the same folder."""
    assert re.fullmatch(pattern, _names.unique(path))
