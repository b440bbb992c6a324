"""``python -m streamserver``."""

import sys

from streamserver.cli import main

if __name__ == "__main__":
    sys.exit(main())
