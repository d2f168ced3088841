"""OpenTelemetry: one span for each request, hit or miss."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from harness.compatibility import Subject


class OpenTelemetry(Coexists):
    """Spans that stay in memory."""

    @pytest.fixture
    def spans(self) -> Iterator[Any]:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
            InMemorySpanExporter,
        )

        spans = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(spans))
        yield spans
        self.provider.shutdown()

    @pytest.fixture
    def config(self, spans: Any) -> Iterator[dict[str, object]]:
        yield {}
        original = getattr(self, "original", None)
        if original is not None:
            from opentelemetry.instrumentation.flask import FlaskInstrumentor

            FlaskInstrumentor().uninstrument()
            assert flask.Flask is original

    @pytest.mark.cell("flask-webcache")
    def test_spans(
        self, app: Flask, spans: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A miss and a hit are a span each, and nothing is warned of."""
        assert app.test_client().get("/page").status_code == 200
        assert is_hit(app.test_client().get("/page"))
        names = [span.name for span in spans.get_finished_spans()]
        assert names == ["GET /page", "GET /page"]
        assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []

    @pytest.mark.cell("flask-streaming")
    def test_stream_span(self, app: Flask, spans: Any) -> None:
        """A stream is one span."""
        assert app.test_client().get("/rows.csv").data
        (span,) = spans.get_finished_spans()
        assert span.name == "GET /rows.csv"


class TestInstrument(OpenTelemetry):
    subject = Subject(
        "OpenTelemetry, `instrument()`", "opentelemetry-instrumentation-flask"
    )

    def make(self, directory: Path) -> Flask:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        self.original = flask.Flask
        FlaskInstrumentor().instrument(tracer_provider=self.provider)
        return super().make(directory)

    def attach(self, app: Flask) -> None:
        """Do nothing more: the class of all apps is instrumented."""


class TestInstrumentApp(OpenTelemetry):
    subject = Subject(
        "OpenTelemetry, `instrument_app`", "opentelemetry-instrumentation-flask"
    )

    def attach(self, app: Flask) -> None:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        FlaskInstrumentor.instrument_app(app, tracer_provider=self.provider)
