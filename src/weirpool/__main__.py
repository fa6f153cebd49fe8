"""`python -m weirpool` is the command line, too."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
