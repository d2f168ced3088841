"""The URLs of stored files."""

from __future__ import annotations

import time
from typing import ClassVar
from urllib.parse import quote
from urllib.parse import urlencode

from .._attributes import check_signed
from .._request import mount_point
from .._serving import UrlSigner
from ..config import Config
from ..exceptions import ConfigError


class Addresses:
    """The part of a provider that knows where browsers find its files."""

    register_route: ClassVar[bool] = False
    config: Config

    def full_name(self, name: str) -> str:
        """Return a name as the root of the store sees it."""
        raise NotImplementedError

    def url(
        self,
        name: str,
        expires: float | None = None,
        *,
        download_name: str | None = None,
    ) -> str:
        """Return a file's URL, or one that is signed.

        :param expires: the seconds that a signed one works.
        :param download_name: download the file under this name; only signed URLs can.
        :raises InvalidAttributeError: for a name that no download can have.
        """
        chosen = check_signed(expires, download_name)
        if expires is None:
            return self.absolute_url(name)
        ends = int(time.time() + expires)
        signature = self.signer.sign(self.full_name(name), ends, chosen)
        query = {"expires": ends, "signature": signature}
        query |= {"download_name": chosen} if chosen else {}
        return f"{self.absolute_url(name)}?{urlencode(query)}"

    def absolute_url(self, name: str) -> str:
        """Return a file's URL with ``STORE_DOMAIN``, if there is one.

        Without it, it starts with where the app is mounted, as :meth:`relative_url`.
        """
        if not self.config.domain:
            return self.relative_url(name)
        return self.config.domain + self._own_url(name)

    def relative_url(self, name: str) -> str:
        """Return a file's URL without a domain.

        It starts with where the app is mounted: in a request with the path that the
        server says, elsewhere with ``APPLICATION_ROOT``.
        """
        mounted = mount_point() if self.register_route else ""
        return quote(mounted) + self._own_url(name)

    def _own_url(self, name: str) -> str:
        return self.url_join(self.config.url_prefix, self.full_name(name))

    def url_join(self, *parts: str) -> str:
        """Join parts of a URL's path; what may not stand there is quoted."""
        joined = "/".join(part.strip("/") for part in parts if part.strip("/"))
        return f"/{quote(joined)}"

    @property
    def signer(self) -> UrlSigner:
        """The signer of URLs, with the app's secret key."""
        if not self.config.signing_keys:
            raise ConfigError("SECRET_KEY", None, "set it; signed URLs require it")
        return UrlSigner(self.config.signing_keys, self.config.store)
