"""Shared by the tests of every server."""

from __future__ import annotations

import pytest


pytest.register_assert_rewrite("servers.contract")
