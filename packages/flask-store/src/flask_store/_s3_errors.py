"""S3's errors, and which of ours they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .exceptions import BackendError
from .exceptions import NotFoundError


if TYPE_CHECKING:
    from botocore.exceptions import ClientError

TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
ABSENT = {"NoSuchKey", "404", "NotFound"}
FORBIDDEN = {"403", "Forbidden", "AccessDenied"}
BUSY = {"RequestTimeout", "SlowDown", "Throttling", "RequestTimeTooSkewed"}


@contextlib.contextmanager
def failing_as(action: str, name: str) -> Iterator[None]:
    """Turn boto3's errors into ours."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except client_error() as error:
        if code(error) in ABSENT and action != "save":
            raise NotFoundError(name) from error
        reason = f"S3 said {code(error)}"
        if code(error) in FORBIDDEN and action == "find":
            reason += "; without s3:ListBucket, it answers the same for a missing file"
        raise BackendError(action, name, reason) from error
    except BotoCoreError as error:
        raise BackendError(action, name, str(error)) from error


def is_transient(error: BackendError) -> bool:
    """Return whether an error may pass by itself: the server was away or busy.

    All else, such as a wrong parameter or missing credentials, stays until somebody
    mends it.
    """
    from botocore import exceptions

    cause = error.__cause__
    if isinstance(cause, exceptions.ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429 or code(cause) in BUSY)
    return isinstance(
        cause,
        (
            exceptions.HTTPClientError,
            exceptions.CredentialRetrievalError,
            exceptions.MetadataRetrievalError,
        ),
    )


def client_error() -> type[ClientError]:
    """Return what boto3 raises for an answer that is an error."""
    from botocore.exceptions import ClientError

    made: type[ClientError] = ClientError
    return made


def code(error: ClientError) -> str:
    """Return what S3 calls an error."""
    return str(error.response.get("Error", {}).get("Code", "an error"))
