"""``python -m chronostream`` is the command ``chronostream``."""

import sys

from chronostream.cli import main

if __name__ == "__main__":
    sys.exit(main())
