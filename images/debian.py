"""What an image keeps of the Debian packages whose files are in it: names for scanners, licences for people.

There is no package database in the image. Scanners (Trivy, Grype, Syft) read a file per package in
/var/lib/dpkg/status.d instead, as Google's distroless images have it.
"""

import glob
import os
import shutil
from collections.abc import Iterable

_INFO = "/var/lib/dpkg/info"
_STATUS = "/var/lib/dpkg/status"


def owners(files: Iterable[str]) -> dict[str, set[str]]:
    """Return which packages brought the files (absolute paths in this system): package -> its files among them."""
    wanted = {real(path): path for path in files}
    found: dict[str, set[str]] = {}
    for listing in sorted(glob.glob(f"{_INFO}/*.list")):
        package = os.path.basename(listing).removesuffix(".list").partition(":")[0]
        with open(listing, encoding="utf-8") as lines:
            brought = {wanted[path] for path in map(real, lines.read().split("\n")) if path in wanted}
        if brought:
            found[package] = brought
    return found


def real(path: str) -> str:
    """Return the path without the links of a merged /usr: packages may list /lib/x for what is /usr/lib/x."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name) if name else path


def paragraphs() -> dict[str, str]:
    """Return what the package database says of each package."""
    if not os.path.exists(_STATUS):
        return {}
    with open(_STATUS, encoding="utf-8") as file:
        texts = file.read().strip().split("\n\n")
    return {field(text, "Package"): text for text in texts}


def field(paragraph: str, name: str) -> str:
    """Return the value of a field, or nothing."""
    lines = (line for line in paragraph.split("\n") if line.startswith(f"{name}: "))
    return next(lines, "").partition(": ")[2]


def keep_records(packages: Iterable[str], root: str) -> None:
    """Write the packages' paragraphs, and copy their licences, below `root`."""
    known = paragraphs()
    os.makedirs(f"{root}/var/lib/dpkg/status.d", exist_ok=True)
    for package in sorted(packages):
        with open(f"{root}/var/lib/dpkg/status.d/{package}", "w", encoding="utf-8") as file:
            file.write(known[package] + "\n\n")
        licence = f"/usr/share/doc/{package}/copyright"
        if os.path.exists(licence):
            os.makedirs(os.path.dirname(root + licence), exist_ok=True)
            shutil.copyfile(licence, root + licence)
