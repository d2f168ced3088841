"""Shared by the tests of every extension."""

from __future__ import annotations

import pytest


pytest.register_assert_rewrite("coexistence.contract")
