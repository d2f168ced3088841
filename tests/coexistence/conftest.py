"""What the tests of every extension share."""

from __future__ import annotations

import pytest


pytest.register_assert_rewrite("coexistence.contract")
