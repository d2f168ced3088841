"""The headers and signatures of files that are sent: uploads are not to be trusted."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from flask import Response
from itsdangerous import Signer
from werkzeug.datastructures import Headers

from ._attributes import Attributes
from ._types import OCTET_STREAM as OCTET_STREAM
from ._types import content_type as content_type
from ._types import is_inline as is_inline


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

POLICY = "Content-Security-Policy"
NO_SNIFFING = "X-Content-Type-Options"


def headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers that keep an upload from acting in the site's name."""
    made = {NO_SNIFFING: "nosniff"}
    if "charset=" in attributes.content_type:
        # Werkzeug would name another charset beside it.
        made["Content-Type"] = attributes.content_type
    if attributes.cache_control:
        made["Cache-Control"] = attributes.cache_control
    # Chromium shows no PDF in a sandbox; its viewer is one.
    if attributes.content_type != "application/pdf":
        made[POLICY] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return made


class GuardedResponse(Response):
    """A stored file, whose protection no hook of the app can replace.

    Hooks that set a policy for the site's pages set it for files too. This response
    says its own again where nobody comes after. A browser applies all policies, so
    those of the app stay beside it.
    """

    guards: Mapping[str, str] = {}

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Return the headers as they are sent."""
        sent = super().get_wsgi_headers(environ)
        sent[NO_SNIFFING] = self.guards[NO_SNIFFING]
        policy = self.guards.get(POLICY)
        if policy and policy not in sent.getlist(POLICY):
            sent.add(POLICY, policy)
        return sent


def guard(response: Response, attributes: Attributes) -> Response:
    """Return a response that keeps the protection of what it sends."""
    guards = headers(attributes)
    response.headers.update(guards)
    # What Werkzeug offers to give a response another class, and no copy.
    kind: Any = type(response)
    made = _guarded(kind).force_type(response)
    made.guards = guards
    return cast("Response", made)


@functools.cache
def _guarded(base: type[Response]) -> Any:
    """Return the class of guarded responses for an app's own class."""
    return type("GuardedResponse", (GuardedResponse, base), {})


#: Digits of a Unix time; Python refuses to read thousands of them.
LONGEST_TIME = 20


class UrlSigner:
    """Sign names with the time at which their URLs end.

    :param keys: the secret keys, the current one last.
    :param store: the name of the store, whose URLs open no other's files.
    """

    def __init__(self, keys: tuple[str | bytes, ...], store: str = "default") -> None:
        secrets = [key.encode() if isinstance(key, str) else key for key in keys]
        salt = "flask-store" if store == "default" else f"flask-store/{store}"
        self._signer = Signer(secrets, salt=salt, key_derivation="hmac")

    def sign(self, name: str, ends: int, download_name: str | None = None) -> str:
        """Return the signature of a name.

        :param ends: the Unix time at which it ends.
        :param download_name: what the URL calls the download, if it does.
        """
        value = _signed(name, str(ends), download_name)
        return self._signer.get_signature(value).decode()

    def verify(
        self,
        name: str,
        ends: str,
        signature: str,
        now: float,
        download_name: str | None = None,
    ) -> bool:
        """Return whether a signature fits and has not ended."""
        digits = ends.isascii() and ends.isdecimal() and len(ends) <= LONGEST_TIME
        if not digits or int(ends) <= now:
            return False
        value = _signed(name, ends, download_name)
        return self._signer.verify_signature(value, signature)


def _signed(name: str, ends: str, download_name: str | None) -> str:
    # No name has a line feed, so no two URLs are signed as one.
    return f"{ends}/{name}" + (f"\n{download_name}" if download_name else "")
