"""Fills the memory volume of its first argument with this many MiB, slowly: the pages count as memory of this
container, but not of this process, so that the kernel, once the limit is reached, ends the container's
greatest process instead.
"""

import sys
from pathlib import Path

with Path(sys.argv[1], "filling").open("wb", buffering=0) as file:
    file.writelines(b"x" * 2**20 for _ in range(int(sys.argv[2])))
