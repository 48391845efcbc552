"""`python -m hour9.registry.check RECEIPT…`: exit 0 where the registry holds what they say."""

import sys
from pathlib import Path

from hour9.registry.versions import agrees

if __name__ == "__main__":
    sys.exit(0 if agrees(map(Path, sys.argv[1:])) else 1)
