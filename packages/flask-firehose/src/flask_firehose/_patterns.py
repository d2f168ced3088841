"""Werkzeug's rules as URL patterns (URLPattern), and where two of them overlap."""

from __future__ import annotations

import re
from dataclasses import dataclass


_VARIABLE = re.compile(r"<(?:(\w+)(?:\(.*\))?:)?(\w+)>")
_SPECIAL = re.compile(r"([\\{}()*+?:])")
_HEX = "[A-Fa-f0-9]"
#: What the converters match, in words that browsers and Python both understand.
CONVERTERS = {
    "default": "[^\\/]+",
    "string": "[^\\/]+",
    "int": "\\d+",
    "float": "\\d+\\.\\d+",
    "path": ".+",
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
}
_SAMPLES = {"float": "1.5", "uuid": "0" * 8 + "-0000-0000-0000-" + "0" * 12}


@dataclass(frozen=True, slots=True)
class Segment:
    """A rule between two slashes.

    :param pattern: the same as a URL pattern.
    :param sample: what matches it.
    :param regex: what it matches; None if that is not known.
    :param rest: whether it matches slashes too.
    """

    pattern: str
    sample: str
    regex: str | None
    rest: bool = False

    @property
    def is_fixed(self) -> bool:
        """Return whether it matches nothing but its sample."""
        return self.regex == re.escape(self.sample)


def segments(rule: str) -> list[Segment]:
    """Return the segments of a rule, such as ``/article/<int:id>``."""
    return [_segment(text) for text in rule.lstrip("/").split("/")]


def _segment(text: str) -> Segment:
    variable = _VARIABLE.fullmatch(text)
    if variable is None and "<" not in text:
        return Segment(_SPECIAL.sub(r"\\\1", text), text, re.escape(text))
    converter = (variable[1] or "default") if variable else ""
    regex = CONVERTERS.get(converter) if variable and "(" not in text else None
    name = variable[2] if variable else "part"
    if regex is None:
        return Segment("*", "1", None, rest=True)
    sample = _SAMPLES.get(converter, "1")
    return Segment(f":{name}({regex})", sample, regex, rest=converter == "path")


def pattern(parts: list[Segment]) -> str:
    """Return the URL pattern of a rule."""
    return "".join(f"/{part.pattern}" for part in parts)


def is_certain(parts: list[Segment]) -> bool:
    """Return whether the pattern matches just what the rule does."""
    return all(part.regex is not None for part in parts)


def overlap(one: list[Segment], other: list[Segment]) -> str | None:
    """Return a path that both rules match; None if there is none."""
    path = ""
    for index in range(max(len(one), len(other))):
        for first, second in ((one, other), (other, one)):
            if index < len(first) and first[index].rest and index < len(second):
                return path + "".join(f"/{part.sample}" for part in second[index:])
        if index >= len(one) or index >= len(other):
            return None
        merged = _merged(one[index], other[index])
        if merged is None:
            return None
        path += f"/{merged}"
    return path


def _merged(one: Segment, other: Segment) -> str | None:
    """Return what matches both segments, the more special first."""
    for sample, regex in (
        (one.sample, other.regex),
        (other.sample, one.regex),
    ):
        fixed = {part.sample for part in (one, other) if part.is_fixed}
        if fixed <= {sample} and (regex is None or re.fullmatch(regex, sample)):
            return sample
    return None
