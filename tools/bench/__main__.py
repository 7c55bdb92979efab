"""`python tools/bench`: see runner.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))  # the course's folder: utils, tools

import runner  # noqa: E402

if __name__ == "__main__":
    try:
        sys.exit(runner.main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: build/bench.json is as it was.")
