"""How stored files are sent: uploads are not to be trusted."""

from __future__ import annotations

import mimetypes

from itsdangerous import Signer


OCTET_STREAM = "application/octet-stream"
#: What browsers show without running anything of it in the site's name.
INLINE = {"application/pdf", "text/plain"}
INLINE_FAMILIES = {"audio", "image", "video"}
#: Images that are documents.
ACTIVE = {"image/svg+xml"}

# Without the system's files, so that all machines agree.
_types = mimetypes.MimeTypes()


def content_type(name: str) -> str:
    """Return the type that a name tells; what a client claims does not count."""
    guessed, encoding = _types.guess_type(f"/{name}", strict=False)
    return OCTET_STREAM if guessed is None or encoding else guessed


def is_inline(mimetype: str) -> bool:
    """Tell whether a browser may show a type, rather than download it."""
    family = mimetype.partition("/")[0]
    return mimetype not in ACTIVE and (mimetype in INLINE or family in INLINE_FAMILIES)


def headers(mimetype: str) -> dict[str, str]:
    """Return the headers that keep an upload from acting in the site's name."""
    made = {"X-Content-Type-Options": "nosniff"}
    # Chromium shows no PDF in a sandbox; its viewer is one.
    if mimetype != "application/pdf":
        made["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        )
    return made


class UrlSigner:
    """Sign names with the time at which their URLs end.

    :param keys: the secret keys, the current one last.
    """

    def __init__(self, keys: tuple[str | bytes, ...]) -> None:
        secrets = [key.encode() if isinstance(key, str) else key for key in keys]
        self._signer = Signer(secrets, salt="flask-store", key_derivation="hmac")

    def sign(self, name: str, ends: int) -> str:
        """Return the signature of a name.

        :param ends: the Unix time at which it ends.
        """
        return self._signer.get_signature(f"{ends}/{name}").decode()

    def verify(self, name: str, ends: str, signature: str, now: float) -> bool:
        """Tell whether a signature fits and has not ended."""
        if not (ends.isascii() and ends.isdecimal() and int(ends) > now):
            return False
        return self._signer.verify_signature(f"{ends}/{name}", signature)
