"""The likely cause of each symptom that a check meets, and the line to change.

Every function compares what the site has answered (:class:`Reply`) with what the app
says that it should be (:class:`Expected`), and returns what is wrong with a remedy, or
``None``.
"""

from __future__ import annotations

from typing import NamedTuple

from ._fields import FRONTS
from ._files import File
from ._site import Expected
from ._site import Reply
from ._state import State


class Problem(NamedTuple):
    """Something that is wrong.

    :param cause: its likely cause, and what to change; may be empty.
    """

    symptom: str
    cause: str = ""


AGAIN = "put what `flask kaccel config` prints now into the server's configuration"
LOGIN = (
    "pass --cookie or --header of a visitor who may download the file, or the URL of "
    "a public file"
)
SLOW = "the file did not arrive in time"
BY_STATUS = {
    401: "the front asks for a password: add `auth_basic off;` to the block",
    403: (
        "the front forbids it: a `deny` or `Require` above the block, or its user may "
        "not read the directory"
    ),
    500: "the front has failed: its error log says why",
    502: "the front cannot reach the app, or the store has refused: see its error "
    "log, and the URL after `proxy_pass`",
    503: "the front cannot reach the app: see the URL after `proxy_pass` or "
    "`ProxyPass`",
    504: "the app or the store did not answer the front in time",
}


def answered(state: State, wanted: Expected, reply: Reply) -> Problem | None:
    """Return what keeps a file from being sent by the front."""
    if not reply.status:
        return Problem(SLOW, "`limit_rate` in the block, or the app is slow")
    if reply.by_app or (not wanted.handed and reply.status != 200):
        return _by_app(state, wanted, reply)
    if not wanted.handed and not reply.by_block:
        cause = "give the URL of a file that goes through flask-kaccel"
        return Problem("the app sends no file for this URL", cause)
    if reply.status in (301, 302, 303, 307, 308):
        where = reply.headers.get("Location", "")
        return Problem(f"the front redirects to {where}", "give that URL instead")
    if reply.status != 200:
        return _refused(state, wanted, reply)
    shown = [it.field for it in FRONTS.values() if it.field in reply.headers]
    if shown:
        cause = (
            "the front passes it on instead of sending the file: `XSendFile on` or its "
            "module is missing, `proxy_ignore_headers` names it, or another server is "
            "in front of the front"
        )
        return Problem(f"the client gets {shown[0]} in place of the file", cause)
    return _content(wanted, reply)


def _by_app(state: State, wanted: Expected, reply: Reply) -> Problem:
    if wanted.error is not None:
        return Problem(f"the app fails with {wanted.error}", "see the app's log")
    if reply.status == 200:
        config = state.config
        reasons = [
            "the running app is configured differently from this one, where "
            f"KACCEL_BACKEND is {config.sender!r}"
        ]
        if config.host is not None:
            reasons.insert(
                0,
                f"the Host that reaches the app is KACCEL_HOST, {config.host!r}: add "
                "`proxy_set_header Host $http_host;` or `ProxyPreserveHost on`",
            )
        if config.secret is not None:
            reasons.insert(
                0, "the front does not add X-Kaccel-Secret, or adds a wrong one"
            )
        if not wanted.handed:
            reasons = ["it is in no mapping, is empty, or has an encoding"]
        return Problem("Flask sent it, not the front", "; or ".join(reasons))
    if not wanted.handed:
        return _app_refuses(reply)
    return _astray(wanted, reply)


def _app_refuses(reply: Reply) -> Problem:
    symptom = f"the app answers {reply.status}"
    if reply.status == 404:
        return Problem(symptom, "the app has no such file: check the URL")
    if reply.status >= 500:
        return Problem(symptom, "the app fails: see its log")
    return Problem(symptom, LOGIN)


def _astray(wanted: Expected, reply: Reply) -> Problem:
    """Return why the running app refuses what it would hand over here."""
    symptom = f"the app answers {reply.status} where it should send the file"
    path = reply.seen_path
    location = wanted.file.location if wanted.file else None
    prefix = location.prefix if location else (wanted.store or "").rpartition("/")[0]
    if path is not None and prefix and path.startswith(prefix):
        cause = (
            f"the front has no block for {prefix}, so the app was asked for {path}: "
            f"{AGAIN}"
        )
        return Problem(symptom, cause)
    if path is not None and path != reply.path.partition("?")[0]:
        cause = (
            f"the front asks the app for {path}: `proxy_pass` or `ProxyPass` changes "
            "the path"
        )
        return Problem(symptom, cause)
    if path is None and reply.status == 404:
        cause = (
            f"the front has no block for {prefix}, or changes the path; the running "
            "app signs with another key, or with none, so it does not say which"
        )
        return Problem(symptom, cause)
    return Problem(symptom, LOGIN)


def _refused(state: State, wanted: Expected, reply: Reply) -> Problem:
    symptom = f"the front answers {reply.status}"
    if reply.status != 404:
        return Problem(symptom, BY_STATUS.get(reply.status, ""))
    if wanted.file is None:
        return Problem(
            symptom, "the store has no such object, or refuses the signature"
        )
    location = wanted.file.location
    source = location.source if location else ""
    if state.config.sender == "nginx" and not reply.by_block:
        cause = (
            "another location answers, such as one with a regular expression, or the "
            f"block is not the printed one: begin it with `location ^~ "
            f"{location.prefix if location else ''}`, and {AGAIN}"
        )
        return Problem(symptom, cause)
    if state.config.sender == "nginx":
        line = f'`alias "{source}";`, with a slash at the end, and no `root`'
    elif state.config.sender == "caddy":
        line = f"`root * {source}`"
    else:
        line = f"`XSendFilePath {source}` or `x-sendfile-docroot`"
    cause = f"it looks in another directory, or cannot read this one: it needs {line}"
    return Problem(symptom, cause)


def _content(wanted: Expected, reply: Reply) -> Problem | None:
    if reply.slow:
        cause = "a `limit_rate` in or above the block; or give --seconds"
        return Problem(SLOW, cause)
    file = wanted.file
    if file is None:
        return None
    try:
        content = wanted.content()
    except OSError as error:
        return Problem(f"this process cannot read the file: {error.strerror}")
    length = reply.headers.get("Content-Length", type=int)
    if reply.body == content and length in (file.size, None):
        return _length(reply)
    if not reply.body:
        cause = (
            "the front ignores the header that names the file: "
            "`proxy_ignore_headers` names it, or another server is in front"
        )
        return Problem("the client gets an empty file", cause)
    if reply.headers.get("Content-Encoding"):
        return Problem("the front compresses it", "add `gzip off;` to the block")
    cause = (
        "the block is for another directory that has a file of this name, or a "
        "filter such as `sub_filter` changes the file"
    )
    return Problem("the client gets different bytes", cause)


def _length(reply: Reply) -> Problem | None:
    if reply.headers.get("Content-Length") is None:
        cause = "a filter, such as `sub_filter` or `gzip`, is active in the block"
        return Problem("it has no length", cause)
    return None


def validators(state: State, file: File, reply: Reply) -> Problem | None:
    """Return what is wrong with the fields by which clients ask again."""
    if "ETag" not in reply.headers:
        cause = "`etag off;`, or `Header unset ETag`: remove that line"
        return Problem("it has no ETag", cause)
    tag = reply.headers["ETag"]
    if state.config.sender != "caddy" and tag.removeprefix("W/") != file.etag:
        cause = "the front sees a different file from this process, or an older one"
        if state.config.sender == "x-sendfile":
            cause = "`Header unset ETag` or `Header set ETag`: remove that line"
        return Problem(f"its ETag is {tag}, not {file.etag}", cause)
    if "Last-Modified" not in reply.headers:
        return Problem("it has no Last-Modified", "a filter or a line removes it")
    return None


def field(name: str, value: str | None, lines: list[str]) -> Problem | None:
    """Return what is wrong with a field of the app's.

    :param value: the app's, or ``None`` if it is not the same each time.
    :param lines: the client's.
    """
    if not lines:
        return Problem(f"{name} is lost", f"the block does not restore it: {AGAIN}")
    if len(lines) > 1 and value not in (None, ", ".join(lines)):
        cause = (
            f"a line of the front's own, such as `add_header {name}`, `Header add` or "
            "`expires`: remove it"
        )
        return Problem(f"{name} is sent {len(lines)} times", cause)
    if value is not None and value not in (lines[0], ", ".join(lines)):
        setter = "`expires`" if name in ("Cache-Control", "Expires") else "`add_header`"
        cause = f"{setter} or `Header set` of the front's own: remove it"
        return Problem(f"{name} is {lines[0]!r}, not {value!r}", cause)
    return None


def missing(wanted: Expected, reply: Reply) -> Problem | None:
    """Return what is wrong with the front's answer for a file that has gone."""
    if reply.status == 200 and wanted.file and reply.body == wanted.content():
        return None  # the front does not look below a file, as PATH_INFO goes
    if reply.status in (301, 302, 307, 308):
        return Problem(f"{reply.status}, not 404", "add `try_files $uri =404;`")
    for name in ("Cache-Control", "Content-Disposition"):
        value = reply.headers.get(name)
        line = wanted.lines.get(name.lower())
        if value is not None and line is not None and value == line[1]:
            cause = f"give {name} back without `always`: {AGAIN}"
            return Problem(f"the error has the file's {name}", cause)
    return None


def unguarded(reply: Reply) -> Problem | None:
    """Return whether an error lacks the fields that protect every page."""
    if reply.status < 400 or reply.by_block or reply.by_app:
        return None
    cause = f"`always` is missing from the `add_header` lines of the block: {AGAIN}"
    return Problem("the front's errors lack the app's security fields", cause)


def directory(reply: Reply, gone: Reply) -> Problem | None:
    """Return what is wrong with the front's answer for a directory.

    :param gone: the answer for a file that has gone.
    """
    if reply.status in (301, 302, 307, 308):
        cause = "add `try_files $uri =404;` to the block"
        return Problem("the redirect to a directory shows its internal name", cause)
    if reply.status == 200 and reply.body != gone.body:
        cause = "remove `autoindex` and `index`, and add `try_files $uri =404;`"
        return Problem("the contents of a directory are shown", cause)
    return None
