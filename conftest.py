"""The harness's fixtures, for the workspace's tests and every package's."""

pytest_plugins = ["harness.fixtures", "harness.compatibility"]
