"""`python -m fakellm`: the command."""

from __future__ import annotations

import sys

from fakellm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
