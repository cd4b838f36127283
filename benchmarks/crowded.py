"""The command line on a machine of which Ray is told that it has so many CPUs, so that as many trials are at work:

python -m benchmarks.crowded 8 run PRESET ...
"""

from __future__ import annotations

import sys

from study import cli
from study.tune import cluster

if __name__ == "__main__":
    count = int(sys.argv.pop(1))
    setattr(cluster, "cpus", lambda: count)  # noqa: B010 (an assignment has another type)
    cli.main(cli.app)
