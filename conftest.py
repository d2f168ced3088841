"""The harness's fixtures, for the workspace's tests and every package's."""

import pytest


pytest_plugins = ["harness.fixtures", "harness.compatibility"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits for servers, so that no process ends long after another."""
    items.sort(key=lambda item: "servers" not in item.path.parts)
