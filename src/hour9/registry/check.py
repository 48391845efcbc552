"""`python -m hour9.registry.check RECEIPT…`: exit 0 where the registry holds what they say."""

import json
import sys
from pathlib import Path

from hour9.registry.versions import agrees

if __name__ == "__main__":
    receipts = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    sys.exit(0 if agrees(receipts) else 1)
