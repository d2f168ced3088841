"""All five packages on every server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import harness
from harness.compatibility import Subject
from servers.contract import APP
from servers.contract import Replaces
from servers.contract import Running
from servers.contract import Serves


class Gunicorn(Serves):
    """Two workers, which share by Redis."""

    worker: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.gunicorn(
            APP, *cls.options, worker=cls.worker, workers=2, environ=environ
        )

    @classmethod
    def environ(cls, redis_url: str) -> dict[str, str]:
        name = cls.__name__
        return {
            "FLASK_WEBCACHE_URL": redis_url,
            "FLASK_WEBCACHE_KEY_PREFIX": f"{name}:webcache:",
            "FLASK_STREAMING_REDIS_URL": redis_url,
            "FLASK_STREAMING_REDIS_PREFIX": f"{name}:streaming:",
        }


class TestSync(Gunicorn):
    subject = Subject("gunicorn, sync", "gunicorn")
    worker = "sync"


class TestSyncPreload(Gunicorn):
    subject = Subject("gunicorn, sync, `--preload`", "gunicorn")
    worker = "sync"
    options = ("--preload",)


class TestSyncMaxRequests(Gunicorn):
    # Without the test of open streams: a stream is all that a sync worker does.
    subject = Subject("gunicorn, sync, `--max-requests`", "gunicorn")
    worker = "sync"
    options = ("--max-requests", "20", "--graceful-timeout", "30")


class TestGthread(Gunicorn):
    subject = Subject("gunicorn, gthread", "gunicorn")
    worker = "gthread"


class TestGthreadPreload(Gunicorn):
    subject = Subject("gunicorn, gthread, `--preload`", "gunicorn")
    worker = "gthread"
    options = ("--preload",)


class TestGthreadMaxRequests(Gunicorn, Replaces):
    subject = Subject("gunicorn, gthread, `--max-requests`", "gunicorn")
    worker = "gthread"
    options = ("--max-requests", "20", "--graceful-timeout", "30")


class TestGevent(Gunicorn):
    subject = Subject("gunicorn, gevent", "gunicorn")
    worker = "gevent"


class TestGeventPreload(Gunicorn):
    subject = Subject("gunicorn, gevent, `--preload`", "gunicorn")
    worker = "gevent"
    options = ("--preload",)


class TestGeventMaxRequests(Gunicorn, Replaces):
    subject = Subject("gunicorn, gevent, `--max-requests`", "gunicorn")
    worker = "gevent"
    options = ("--max-requests", "20", "--graceful-timeout", "30")


class TestWaitress(Serves):
    subject = Subject("waitress", "waitress")

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.waitress(APP, environ=environ)


class TestUWSGI(Serves):
    subject = Subject("uWSGI", "uwsgi", ("uwsgi", "--version"))

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.uwsgi(APP, environ=environ)


class TestCheroot(Serves):
    subject = Subject("cheroot", "cheroot")

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.cheroot(APP, environ=environ)


class TestGranian(Serves):
    subject = Subject("granian, WSGI", "granian")

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.granian(APP, environ=environ)


class TestHypercorn(Serves):
    subject = Subject("hypercorn, WSGI", "hypercorn")

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.hypercorn(APP, environ=environ)


class TestUvicorn(Serves):
    subject = Subject("uvicorn with a2wsgi", "uvicorn")

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.uvicorn(APP, environ=environ)


class TestDebug(Serves):
    subject = Subject("`flask run --debug`", "werkzeug")

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> Running:
        return harness.werkzeug_server(APP, "--debug", environ=environ)
