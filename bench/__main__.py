"""The entry point. Every measuring process imports this module again, so it contains nothing else."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from bench.cli import main
    except ModuleNotFoundError as error:
        sys.exit(f"python -m bench: {error}: run it from the repository, after pip install -e '.[bench]'")
    sys.exit(main())
