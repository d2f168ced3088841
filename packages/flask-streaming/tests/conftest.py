"""Settings for this package's tests on their own, and on busy machines."""

import os
from importlib.util import find_spec

from hypothesis import HealthCheck
from hypothesis import settings


# Only what a test says may fail it, never how long an example takes. Where the same
# must happen each time, no example is chosen at random.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    # On its own, a package is tried with fewer of the examples that the workspace had.
    max_examples=100 if find_spec("harness") else 20,
)
settings.load_profile("patient")

#: The tests against real servers need the workspace's harness.
collect_ignore = [] if find_spec("harness") else ["servers"]
