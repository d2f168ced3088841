"""How stored files are sent: uploads are not to be trusted."""

from __future__ import annotations

from itsdangerous import Signer

from flask_store._attributes import Attributes
from flask_store._types import OCTET_STREAM as OCTET_STREAM
from flask_store._types import content_type as content_type
from flask_store._types import is_inline as is_inline


def headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers that keep an upload from acting in the site's name."""
    made = {"X-Content-Type-Options": "nosniff"}
    if "charset=" in attributes.content_type:
        # Werkzeug would name another charset beside it.
        made["Content-Type"] = attributes.content_type
    if attributes.cache_control:
        made["Cache-Control"] = attributes.cache_control
    # Chromium shows no PDF in a sandbox; its viewer is one.
    if attributes.content_type != "application/pdf":
        made["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        )
    return made


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
