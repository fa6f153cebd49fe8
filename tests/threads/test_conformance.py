"""CPython's own tests of executors, run on a pool as an executor.

They are those of the standard library that runs this, of Python 3.13 and later, where they are a package of mixins. What does
not apply is listed in `LEFT_OUT`, each with the reason; the last test holds that every upstream test of a thread pool, of waiting
and of futures is either run here or listed there, so that none silently vanishes.
"""

from __future__ import annotations

import sys
import threading
import time
import unittest
from typing import Any

import pytest

from tests.threads.support import Home

pytestmark = [pytest.mark.realtime, pytest.mark.complains]  # of failures that nobody asks for, as upstream does on purpose

if sys.version_info < (3, 13):
    pytest.skip("missing before Python 3.13: its tests of executors as mixins", allow_module_level=True)

upstream = pytest.importorskip("test.test_concurrent_futures", reason="this Python comes without its own tests")
