"""Content types by extension: the same on every machine and every Python.

The standard library's own table differs between releases, and the system's files
differ between machines, so what uploads commonly have is listed here. Types are those
registered with IANA; the rest of the standard library's table comes after them.
"""

from __future__ import annotations

import mimetypes
from typing import Literal


OCTET_STREAM = "application/octet-stream"
Disposition = Literal["inline", "attachment"]

#: What browsers show without running anything of it in the site's name.
INLINE = {"application/pdf", "text/plain"}
INLINE_FAMILIES = {"audio", "image", "video"}
#: Documents in any family, such as SVG: they may hold scripts.
ACTIVE_SUFFIX = "+xml"

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"

#: The type of each family of extensions.
_KNOWN = {
    # Sound
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/matroska": "mka",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a m4b",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga ogg opus spx",
    "audio/webm": "weba",
    "audio/x-aiff": "aif aiff",
    "audio/x-wav": "wav",
    "audio/amr": "amr",
    # Films
    "video/3gpp": "3gp 3gpp",
    "video/3gpp2": "3g2",
    "video/matroska": "mkv",
    "video/mp4": "m4v mp4",
    "video/mpeg": "mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "wmv",
    "video/x-msvideo": "avi",
    # Images
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp dib",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jp2": "jp2",
    "image/jpeg": "jfif jpe jpeg jpg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "image/x-adobe-dng": "dng",
    # Fonts
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    # Text
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "htm html",
    "text/javascript": "js mjs",
    "text/markdown": "markdown md",
    "text/plain": "log text txt",
    "text/rtf": "rtf",
    "text/tab-separated-values": "tsv",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "text/xml": "xml",
    "application/geo+json": "geojson",
    "application/gpx+xml": "gpx",
    "application/json": "json",
    "application/ld+json": "jsonld",
    "application/toml": "toml",
    "application/wasm": "wasm",
    "application/x-ndjson": "ndjson",
    "application/x-subrip": "srt",
    "application/yaml": "yaml yml",
    # Documents
    "application/epub+zip": "epub",
    "application/msword": "doc dot",
    "application/pdf": "pdf",
    "application/pgp-signature": "asc sig",
    "application/postscript": "ai eps ps",
    "application/vnd.ms-excel": "xls xlt",
    "application/vnd.ms-outlook": "msg",
    "application/vnd.ms-powerpoint": "pot pps ppt",
    "application/vnd.visio": "vsd",
    "application/x-mobipocket-ebook": "mobi",
    "message/rfc822": "eml",
    f"{_OFFICE}.presentationml.presentation": "pptx",
    f"{_OFFICE}.presentationml.slideshow": "ppsx",
    f"{_OFFICE}.presentationml.template": "potx",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    f"{_OFFICE}.spreadsheetml.template": "xltx",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    f"{_OFFICE}.wordprocessingml.template": "dotx",
    f"{_OPEN}.graphics": "odg",
    f"{_OPEN}.presentation": "odp",
    f"{_OPEN}.spreadsheet": "ods",
    f"{_OPEN}.text": "odt",
    # Archives and data
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.rar": "rar",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/zip": "zip",
    "application/zstd": "zst",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/stl": "stl",
}
_BY_EXTENSION = {
    extension: mimetype
    for mimetype, extensions in _KNOWN.items()
    for extension in extensions.split()
}
# Without the system's files, so that all machines agree.
_others = mimetypes.MimeTypes()


def content_type(name: str) -> str:
    """Return the type that a name implies; what a client claims does not count."""
    known = _BY_EXTENSION.get(name.rpartition(".")[2].lower())
    if known is not None:
        return known
    guessed, encoding = _others.guess_type(f"/{name}", strict=False)
    return OCTET_STREAM if guessed is None or encoding else guessed


def is_inline(mimetype: str) -> bool:
    """Return whether a browser may show a type, rather than download it."""
    mimetype = mimetype.partition(";")[0].strip().lower()
    if mimetype.endswith(ACTIVE_SUFFIX):
        return False
    return mimetype in INLINE or mimetype.partition("/")[0] in INLINE_FAMILIES


def default_disposition(mimetype: str) -> Disposition:
    """Return how a type is sent where nothing else was said."""
    return "inline" if is_inline(mimetype) else "attachment"
