"""The extension: what ties the stores to Flask."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any

from flask import Flask
from flask import Response
from flask import abort
from flask import request
from flask import send_file

from . import _serving
from ._cli import cli
from ._parts import SpoolingMixin
from ._setup import refuse_twice
from ._signals import upload_failed
from ._signals import upload_finished
from ._state import DEFAULT
from ._state import NAME
from ._state import State
from ._state import get_state
from ._stores import check_required
from ._stores import check_territories
from ._stores import named_stores
from ._stores import provider_class
from ._stores import read_config
from ._tus.receiver import Receiver
from .config import Config
from .exceptions import BackendError
from .exceptions import InvalidNameError
from .exceptions import NotFoundError
from .exceptions import StoreError
from .file_wrapper import FileWrapper
from .stores.base import BaseStore


if TYPE_CHECKING:
    from ._tus.companion import Companion
    from ._tus.endpoint import Uploads
    from ._tus.receiver import Authorize

ENDPOINT = "flaskstore"


def Provider(  # noqa: N802 - documented
    destination: str | None = None, *, store: str = DEFAULT
) -> BaseStore:
    """Return the current app's provider.

    :param destination: a folder in the store; by default its root.
    :param store: the name of a store in ``STORES``.
    :raises SetupError: where the app has no such store.
    """
    provider = get_state().of(store)
    return provider.within(destination) if destination else provider


def deliver(store: str, job_id: str) -> None:
    """Send an upload that waits; for the workers of a queue, in an app context.

    :param store: the name of the store, as the queue was given it.
    :param job_id: the id of the upload.
    :raises BackendError: where it has to be tried again later.
    """
    provider = get_state().of(store)
    if provider.deliver(job_id) is not None:
        error = next((it.error for it in provider.pending() if it.id == job_id), "")
        raise BackendError("send", job_id, error or "another process sends it")


class Store:
    """Save uploads where the app's configuration says.

    :param app: the app, or None to call :meth:`init_app` later.
    :param spool: receive uploads in the store's own file system, so that saving one
        writes nothing more; for the local and the gevent store.
    :param enqueue: for a store in the background, puts the name of the store and the id
        of an upload into a queue of the app's own, whose workers call :func:`deliver`.
    :param ignore_keys: keys under ``STORE_`` that belong to somebody else.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        spool: bool = False,
        enqueue: Callable[[str, str], object] | None = None,
        ignore_keys: Collection[str] = (),
    ) -> None:
        self.spool = spool
        self.enqueue = enqueue
        self.ignore_keys = ignore_keys
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the store up for an app.

        :raises ConfigError: for a configuration that cannot be used.
        :raises SetupError: the app is set up already.
        """
        refuse_twice(app, NAME, type(self).__name__)
        # What the provider takes for granted becomes the app's.
        kind, config = read_config(app, app.config, ignore_keys=self.ignore_keys)
        default = kind(config=config)
        providers = {DEFAULT: default, **named_stores(app)}
        check_territories(providers)
        for provider in providers.values():
            check_private(provider)
        app.extensions[NAME] = State(config, default, providers)
        _check_routes(app)
        for provider in providers.values():
            self._set_up(app, provider)
        spooling = [it for it in providers.values() if it.can_spool]
        if self.spool and spooling:
            bases = (SpoolingMixin, app.request_class)
            made = type("SpoolingRequest", bases, {"flask_store": spooling[0]})
            app.request_class = made
        app.cli.add_command(cli)

    def _set_up(self, app: Flask, provider: BaseStore) -> None:
        name = provider.config.store
        if provider.register_route:
            if name == DEFAULT:
                self.register_route(app)
            else:
                rule = f"{provider.config.url_prefix}/<path:name>"
                view = functools.partial(_serve, store=name)
                app.add_url_rule(rule, f"{ENDPOINT}-{name}", view)
        if provider.background:
            provider.on_end = functools.partial(_tell, app)
            provider.enqueue = self.enqueue
            app.before_request(provider.start)

    def start(self, app: Flask) -> None:
        """Start to send what waits, in a process of the server, before any request.

        Each process starts with its first request by itself.
        """
        for provider in _providers(app):
            provider.start()

    def stop(self, app: Flask) -> None:
        """Stop sending in this process, such as at the end of a test.

        What waits stays in the spool.
        """
        for provider in _providers(app):
            provider.stop()

    def Provider(  # noqa: N802 - documented
        self, destination: str | None = None, *, store: str = DEFAULT
    ) -> BaseStore:
        """Return the current app's provider.

        :param destination: a folder in the store; by default its root.
        :param store: the name of a store in ``STORES``.
        """
        return Provider(destination, store=store)

    def tus(
        self,
        url_prefix: str,
        *,
        authorize: Authorize,
        destination: str | None = None,
        store: str = DEFAULT,
        max_size: int | None = None,
        max_uploads: int | None = None,
        expires: float = 86400,
        name: str = "flask_store_uploads",
    ) -> Uploads:
        """Return a blueprint that receives uploads which resume (tus 1.0).

        A finished upload is saved as any other file, and ``upload_finished`` is sent
        with ``file`` and ``upload``. ::

            def authorize(step, upload):
                return str(current_user.id) if current_user.is_authenticated else None

            app.register_blueprint(store.tus("/uploads", authorize=authorize))

        :param url_prefix: where uploads are created.
        :param authorize: is called with the step (``"create"``, ``"read"``,
            ``"append"`` or ``"terminate"``) and the upload, and returns a text that
            says whose it is; only who is answered the same later may touch it. None
            refuses; it may ``abort()`` too.
        :param destination: the folder of the finished files.
        :param store: the name of their store in ``STORES``.
        :param max_size: the most bytes of one upload.
        :param max_uploads: the most unfinished uploads of one owner.
        :param expires: seconds after its last byte when an upload is dropped.
        :param name: the blueprint's name, where an app has several.
        """
        from ._tus.endpoint import Uploads

        return Uploads(
            url_prefix,
            authorize=authorize,
            provider=functools.partial(Provider, destination, store=store),
            max_size=max_size,
            max_uploads=max_uploads,
            expires=expires,
            name=name,
        )

    def companion(
        self,
        url_prefix: str,
        *,
        authorize: Authorize,
        destination: str | None = None,
        store: str = DEFAULT,
        max_size: int | None = None,
        max_uploads: int | None = None,
        expires: float = 86400,
        name: str = "flask_store_companion",
    ) -> Companion:
        """Return a blueprint that lets browsers upload in parts, straight to S3.

        It answers what Uppy's ``@uppy/aws-s3`` asks of a ``companionEndpoint``. Other
        stores than S3 receive the parts themselves. The parameters are those of
        :meth:`tus`. ::

            app.register_blueprint(store.companion("/files", authorize=authorize))
        """
        from ._tus.companion import Companion

        return Companion(
            url_prefix,
            authorize=authorize,
            provider=functools.partial(Provider, destination, store=store),
            max_size=max_size,
            max_uploads=max_uploads,
            expires=expires,
            name=name,
        )

    def provider(self, app: Flask) -> type[BaseStore]:
        """Return the class that ``STORE_PROVIDER`` names.

        :raises ConfigError: where it is not there, or no provider.
        """
        key = f"{Config.prefix}PROVIDER"
        given = {key: app.config[key]} if key in app.config else {}
        return provider_class(Config.from_mapping(given).provider)

    def set_provider_defaults(self, app: Flask) -> None:
        """Set in ``app.config`` what the provider takes for granted."""
        self.provider(app).app_defaults(app)

    def check_config(self, app: Flask) -> None:
        """Check that all keys are there which the provider cannot do without.

        :raises NotConfiguredError: for the first that is missing.
        """
        check_required(self.provider(app), app.config)

    def register_route(self, app: Flask) -> None:
        """Let the app serve the files under ``STORE_URL_PREFIX``."""
        state: State = app.extensions[NAME]
        app.add_url_rule(f"{state.config.url_prefix}/<path:name>", ENDPOINT, _serve)


def _providers(app: Flask) -> Iterable[BaseStore]:
    with app.app_context():
        return get_state().providers.values()


def _check_routes(app: Flask) -> None:
    """Check the routes of uploads that were registered before the store was set up."""
    try:
        for routes in app.blueprints.values():
            if isinstance(routes, Receiver):
                routes.check_store(app)
    except StoreError:
        del app.extensions[NAME]
        raise


def _tell(app: Flask, file: FileWrapper, error: Exception | None) -> None:
    """Send the signal that an upload in the background has ended."""
    with app.app_context():
        if error is None:
            upload_finished.send(app, file=file)
        else:
            upload_failed.send(app, file=file, error=error)


def check_private(provider: BaseStore) -> None:
    """Check that a private store, whose files the app serves, can sign URLs.

    :raises ConfigError: where the app has no ``SECRET_KEY``.
    """
    if provider.register_route and provider.config.private:
        _ = provider.signer


def _serve(name: str, store: str = DEFAULT) -> Response:
    """Send a stored file as what it is, never as a page of the site."""
    provider = get_state().of(store)
    download_name = request.args.get("download_name")
    if (provider.config.private or download_name) and not provider.signer.verify(
        name,
        request.args.get("expires", ""),
        request.args.get("signature", ""),
        time.time(),
        download_name,
    ):
        abort(403)
    try:
        source: Any = provider.servable(name)
        attributes = provider.attributes(name)
    except (InvalidNameError, NotFoundError):
        abort(404)
    try:
        response = send_file(
            source,
            attributes.content_type,
            as_attachment=bool(download_name) or attributes.disposition == "attachment",
            download_name=download_name or attributes.download_name,
            # Of a path, Flask finds it out itself.
            last_modified=None if isinstance(source, str) else provider.modified(name),
            conditional=isinstance(source, str),
        )
    except FileNotFoundError:
        # Deleted since it was looked up.
        abort(404)
    if not isinstance(source, str):
        # Of a stream, Flask does not know the size, without which there are no ranges.
        size = response.content_length = provider.size(name)
        response.make_conditional(request.environ, True, size)
    return _serving.guard(response, attributes)
