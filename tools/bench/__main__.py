"""`python -m tools.bench`: see runner.py."""

import sys

from tools.bench import runner

if __name__ == "__main__":
    try:
        sys.exit(runner.main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: build/bench.json is as it was.")
