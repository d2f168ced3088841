"""The syntax of the fields that caching reads (RFC 9110, RFC 9111, RFC 9651)."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import UTC
from datetime import date
from datetime import datetime


#: A field section with lower-case names and one value each.
Fields = Mapping[str, str]
#: Directives by lower-case name; None where a directive has no argument.
Directives = Mapping[str, str | None]

#: The largest number of seconds that is told apart (RFC 9111, section 1.2.2).
FOREVER = 2**31

_MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_ETAG = re.compile(r'(?:W/)?"[^"]*"|[^,\s]+')
_MONTHS: Sequence[str] = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - shorter
_MONTH = "|".join(_MONTHS)
_TIME = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)"
# IMF-fixdate, RFC 850 and asctime, the three that recipients have to accept.
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf"(?:mon|tue|wed|thu|fri|sat|sun), (?P<d>\d\d) (?P<m>{_MONTH}) (?P<y>\d{{4}})"
        rf" {_TIME} gmt",
        r"(?:mon|tues|wednes|thurs|fri|satur|sun)day, "
        rf"(?P<d>\d\d)-(?P<m>{_MONTH})-(?P<y>\d\d) {_TIME} gmt",
        rf"(?:mon|tue|wed|thu|fri|sat|sun) (?P<m>{_MONTH}) (?P<d>[ \d]\d)"
        rf" {_TIME} (?P<y>\d{{4}})",
    )
)

_KEY = r"[a-z*][a-z0-9_.*-]*"
_ITEM = (
    r"(?:-?\d{1,12}\.\d{1,3}|-?\d{1,15}|@-?\d{1,15}|\?[01]|:[A-Za-z0-9+/=]*:"
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'
    r"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*)"
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_ITEM})?)*"
_INNER = rf"\( *(?:{_ITEM}{_PARAMETERS}(?: +{_ITEM}{_PARAMETERS})*)? *\)"
_STRUCTURED = re.compile(rf"({_KEY})(?:=({_ITEM}|{_INNER}))?{_PARAMETERS}")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_SECONDS = frozenset(
    {"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"}
)


def combine(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the lines of each field into one value (RFC 9110, section 5.3)."""
    fields: dict[str, str] = {}
    for name, value in lines:
        name = name.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def members(value: str) -> list[str]:
    """Split a list at the commas outside of quoted strings."""
    if '"' not in value:
        return [member for part in value.split(",") if (member := part.strip(" \t"))]
    return [member for part in _MEMBER.findall(value) if (member := part.strip(" \t"))]


def unquote(value: str) -> str:
    """Return what a quoted string means, and anything else as it is."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def directives(value: str) -> dict[str, str | None]:
    """Parse Cache-Control (RFC 9111, section 5.2); the first of duplicates counts."""
    found: dict[str, str | None] = {}
    for member in members(value):
        name, equals, argument = member.partition("=")
        found.setdefault(name.lower(), unquote(argument) if equals else None)
    return found


def targeted(value: str) -> dict[str, str | None] | None:
    """Parse a targeted field, a dictionary of structured fields (RFC 9213).

    :return: None for an invalid or an empty one, which has to be ignored.
    """
    found: dict[str, str | None] = {}
    position, value = 0, value.strip(" ")
    while member := _STRUCTURED.match(value, position):
        name, argument = member.groups()
        found.pop(name, None)
        if argument and argument.isdigit():
            found[name] = argument
        elif argument != "?0" and name not in _SECONDS:
            # An argument of another type may narrow a directive; here it cannot.
            found[name] = None
        if member.end() == len(value):
            return found
        comma = _COMMA.match(value, member.end())
        position = comma.end() if comma else len(value)
    return None


def structured_strings(value: str) -> tuple[str, ...]:
    """Return the strings of a structured list, such as Cache-Groups (RFC 9875)."""
    return tuple(
        unquote(item)
        for member in members(value)
        if (item := member.partition(";")[0].rstrip()).startswith('"')
    )


def seconds(argument: str | None) -> int | None:
    """Parse delta-seconds; None for anything else."""
    if argument and argument.isascii() and argument.isdigit():
        return min(int(argument.lstrip("0")[:12] or 0), FOREVER)
    return None


def age(value: str) -> int:
    """Parse Age; an invalid one is ignored (RFC 9111, section 5.1)."""
    first = value.partition(",")[0].strip(" \t")
    return seconds(first) or 0


def http_date(value: str) -> float | None:
    """Parse a date (RFC 9110, section 5.6.7); None for an invalid one."""
    for pattern in _DATES:
        if match := pattern.fullmatch(value):
            break
    else:
        return None
    year = int(match["y"])
    if len(match["y"]) == 2:
        # More than 50 years ahead means the most recent such year in the past.
        this = datetime.now(UTC).year
        year += this - this % 100
        year -= 100 if year > this + 50 else 0
    month = _MONTHS.index(match["m"].lower()) + 1
    clock = [int(match[part]) for part in "HMS"]
    try:
        date(year, month, int(match["d"]))
    except ValueError:
        return None
    if clock[0] > 23 or clock[1] > 59 or clock[2] > 60:
        return None
    return float(calendar.timegm((year, month, int(match["d"]), *clock)))


def etags(value: str) -> list[str]:
    """Split a list of entity tags as they are written."""
    return _ETAG.findall(value)


def opaque(etag: str) -> str:
    """Return an entity tag without its mark of weakness."""
    return etag.removeprefix("W/")
