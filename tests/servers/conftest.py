"""What the tests of every server share."""

from __future__ import annotations

import pytest


pytest.register_assert_rewrite("servers.contract")
