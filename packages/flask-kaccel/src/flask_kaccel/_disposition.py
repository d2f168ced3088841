"""The Content-Disposition field (RFC 6266).

This file is the same in every package that ships it.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

from werkzeug.http import dump_options_header


#: Characters of ``filename*`` that need no percent sign (RFC 8187, section 3.2.1).
ATTR_CHARS = "!#$&+-.^_`|~"


def content_disposition(name: str, *, as_attachment: bool) -> str:
    """Return a disposition with the name of the file (RFC 6266, section 4.3).

    Control characters, which a field cannot hold, are left out of ``filename`` and
    percent-encoded in ``filename*``.
    """
    names = {"filename": name}
    # Browsers decode percent signs in the plain parameter (RFC 6266, appendix D).
    if not (name.isascii() and name.isprintable()) or "%" in name:
        plain = unicodedata.normalize("NFKD", name)
        names = {
            "filename": "".join(c for c in plain if c.isascii() and c.isprintable()),
            "filename*": f"UTF-8''{quote(name, ATTR_CHARS, errors='replace')}",
        }
    return dump_options_header("attachment" if as_attachment else "inline", names)
