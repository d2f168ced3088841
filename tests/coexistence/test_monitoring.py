"""Sentry and prometheus-flask-exporter: all requests, each failure once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from coexistence.contract import Coexists
from coexistence.contract import is_hit
from coexistence.five import BrokenRowError
from coexistence.five import Five
from flask_streaming.exceptions import StreamBroken
from harness.compatibility import Subject


class TestSentry(Coexists):
    subject = Subject("sentry-sdk", "sentry-sdk")

    @pytest.fixture
    def config(self) -> Iterator[dict[str, object]]:
        import sentry_sdk
        from sentry_sdk.transport import Transport

        self.sent: list[dict[str, Any]] = []
        sent = self.sent

        class Recording(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                for item in envelope.items:
                    if item.payload.json is not None:
                        sent.append(item.payload.json)

        sentry_sdk.init(
            "http://key@127.0.0.1/1",
            transport=Recording,
            traces_sample_rate=1.0,
            # As flask-streaming's how-to says; the error itself is reported.
            ignore_errors=[StreamBroken],
        )
        yield {}
        sentry_sdk.get_client().close()
        sentry_sdk.init()

    def attach(self, app: Flask) -> None:
        """Do nothing more: all apps of the process are watched."""

    def add_views(self, app: Flask, five: Five) -> None:
        @app.get("/fails")
        def fails() -> str:
            raise BrokenRowError("in the view")

    def errors(self) -> list[tuple[str, str]]:
        """Return the types and texts of the errors that were sent."""
        return [
            (error["type"], error["value"])
            for event in self.sent
            for error in event.get("exception", {}).get("values", ())
        ]

    @pytest.mark.cell("flask-webcache")
    def test_transactions(self, app: Flask) -> None:
        """A miss and a hit are a transaction each."""
        app.test_client().get("/page").get_data()
        answer = app.test_client().get("/page")
        assert is_hit(answer)
        answer.close()
        kinds = [event.get("type") for event in self.sent]
        assert kinds.count("transaction") == 2
        assert self.errors() == []

    @pytest.mark.cell("flask-webcache")
    def test_failing_view(self, client: FlaskClient) -> None:
        """A view that fails is reported once, with its error."""
        assert client.get("/fails").status_code == 500
        assert self.errors() == [("BrokenRowError", "in the view")]

    @pytest.mark.cell("flask-streaming")
    @pytest.mark.parametrize("path", ["/broken.csv", "/broken"])
    def test_failing_stream_is_sent(self, client: FlaskClient, path: str) -> None:
        """A stream that fails is reported once, with its error."""
        with pytest.raises(StreamBroken, match="has logged why"):
            client.get(path).get_data()
        assert self.errors() == [("BrokenRowError", "the database went away")]


class TestPrometheus(Coexists):
    subject = Subject("prometheus-flask-exporter", "prometheus-flask-exporter")

    def attach(self, app: Flask) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_flask_exporter import PrometheusMetrics

        self.registry = CollectorRegistry()
        PrometheusMetrics(app, registry=self.registry)

    def counted(self) -> float:
        """Return how many successful GETs were counted."""
        labels = {"method": "GET", "status": "200"}
        return self.registry.get_sample_value("flask_http_request_total", labels) or 0

    @pytest.mark.cell("flask-webcache")
    def test_counter(self, app: Flask) -> None:
        """A miss and a hit are counted once each."""
        app.test_client().get("/page")
        assert self.counted() == 1
        assert is_hit(app.test_client().get("/page"))
        assert self.counted() == 2

    @pytest.mark.cell("flask-webcache")
    def test_metrics_are_fresh(self, client: FlaskClient) -> None:
        """The page of the metrics is made each time."""
        first = client.get("/metrics").text
        client.get("/page")
        second = client.get("/metrics")
        assert not is_hit(second)
        assert second.text != first
