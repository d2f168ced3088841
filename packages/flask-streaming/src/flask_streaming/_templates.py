"""Templates, item by item under the one chunk policy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from flask import Flask
from flask import before_render_template
from flask import current_app
from flask import has_request_context
from flask import request
from flask import template_rendered
from jinja2 import Template
from jinja2.environment import TemplateStream as Items

from ._chunks import buffered
from ._chunks import close
from ._state import get_state
from ._watch import keep_context


class TemplateStream:
    """A template's output: groups of items, joined to chunks.

    :param generator: what the template generates.
    :param prime: make the first chunk now, so that an early error is raised here.
    """

    def __init__(self, generator: Iterator[str], *, prime: bool) -> None:
        self._generator = generator
        self._items = Items(generator)
        self._first: list[str] = []
        self.enable_buffering()
        if prime:
            self._first.extend(islice(self._chunks, 1))

    def enable_buffering(self, size: int = 5) -> None:
        """Join items to groups, and groups to chunks.

        :param size: items of a group, at least 2. A group is what the policy of the
            chunks looks at: it leaves in one piece.
        """
        self._items.enable_buffering(size)
        self._chunks: Iterator[str] = buffered(self._items)

    def disable_buffering(self) -> None:
        """Send each item of the template at once, as a chunk of its own."""
        self._items.disable_buffering()
        self._chunks = self._items

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._first.pop() if self._first else next(self._chunks)

    def close(self) -> None:
        """Stop generating."""
        close(self._chunks, self._generator)


def stream_template(
    template_name_or_list: str | Template | list[str | Template], **context: Any
) -> TemplateStream:
    """Render a template piece by piece.

    :param template_name_or_list: the first of several that exists.
    :param context: the template's variables.
    :return: an iterable for a response, with ``enable_buffering(5)`` on.
    """
    template = current_app.jinja_env.get_or_select_template(template_name_or_list)
    return _stream(template, context)


def stream_template_string(source: str, **context: Any) -> TemplateStream:
    """Render a template's source piece by piece, as :func:`stream_template` does."""
    return _stream(current_app.jinja_env.from_string(source), context)


def _add_template_context(app: Flask, context: dict[str, Any]) -> None:
    """Add what context processors give; what the view passes comes first.

    ``Flask.update_template_context`` has another signature from version to version.
    """
    passed = context.copy()
    blueprints = reversed(request.blueprints) if has_request_context() else ()
    for name in (None, *blueprints):
        for processor in app.template_context_processors.get(name, ()):
            context.update(app.ensure_sync(processor)())
    context.update(passed)


def _stream(template: Template, context: dict[str, Any]) -> TemplateStream:
    get_state()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    _add_template_context(app, context)
    values = {"template": template, "context": context}
    before_render_template.send(app, _async_wrapper=app.ensure_sync, **values)

    def generate() -> Iterator[str]:
        yield from template.generate(context)
        template_rendered.send(app, _async_wrapper=app.ensure_sync, **values)

    in_request = has_request_context()
    if in_request:
        keep_context(unbuffered=True)
    prime = in_request and request.method != "HEAD"
    return TemplateStream(generate(), prime=prime)
