"""Puts together what an image holds, inside the build: `assemble.py python ROOT`, then `assemble.py packages NAME ROOT`
(or `nothing NAME ROOT`).

Exists because a base image, also a slim one, is mostly what a sidecar never uses: a package manager, a shell, the test
suite of Python. So the files that are needed are copied out of it, and the image starts from nothing. Standard library
only. The same input gives the same bytes: nothing here asks for the time, chance or an order that may change.
"""

import glob
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import debian
import elf
import sbom
from tree import compile_all, copy, drop_dead_links, entries, finish, put_link, read, write

if TYPE_CHECKING:
    from sidecars.declaration import Declaration

PYTHON_ROOT = "/rootfs"  # what the first step made, as the Dockerfile names it
STATUS = f"{PYTHON_ROOT}/var/lib/dpkg/status.d"
PROGRAM = "/usr/bin/python3"
ENV = "/usr/bin/env"  # holds SIGTERM back until Python can take it; see the Dockerfile
INSTALLER = "/installer"  # always the same place, because pip writes hashes of scripts that name it
USER = 65532  # the number by which distroless images call "nonroot"
# What no sidecar imports: interactive things, tests, installers, and modules that would bring a database along.
LEFT_OUT = (
    *("__pycache__", "_pyrepl", "config-*", "curses", "dbm", "dist-packages", "ensurepip", "idlelib", "lib2to3"),
    *("pydoc_data", "site-packages", "sqlite3", "test", "tests", "tkinter", "turtle.py", "turtledemo", "venv"),
    *("_ctypes_test*", "_curses*", "_dbm*", "_gdbm*", "_sqlite3*", "_test*", "_tkinter*", "_xxtestfuzz*"),
    *("readline*", "xxlimited*", "xxsubtype*", "EXTERNALLY-MANAGED", "sitecustomize.py"),
    *("doctest.py", "mac_*.py", "mailbox.py", "multiprocessing", "pickletools.py", "pydoc.py", "unittest", "xmlrpc"),
    *("_codecs_*", "_multibytecodec*"),  # Chinese, Japanese and Korean encodings other than UTF-8
    *("_pydatetime.py", "_pydecimal.py", "_pyio.py"),  # for a Python without the same in C
)
# Of the wheels: sources of extension modules, tests, and parts of a library that none of our modules uses.
UNUSED = (
    *("**/*.c", "**/*.h", "**/*.hash", "**/*.pxd", "**/*.pyi", "**/*.pyx", "**/tests"),
    # Its Python twin does the same; this one alone would bring the C++ library along (2.4 MB).
    "frozenlist/_frozenlist.*.so",
)
# Folders that the apps of the devstack write. A named volume of Docker takes over owner and mode of what the image has
# in its place, so these and the state folders of sidecars decide whether a volume can be written at all.
DEVSTACK_WRITES = ("/var/log/app", "/etc/app")


def python(root: str) -> None:
    """Fill `root` with the interpreter, its library, what both load, certificates, and the user."""
    for link in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink(f"/{link}"):  # /usr is merged
            put_link(os.readlink(f"/{link}"), f"{root}/{link}")
    interpreter, library = os.path.realpath(sys.executable), sysconfig.get_path("stdlib")
    copy(interpreter, root)
    copy(ENV, root)
    if interpreter != PROGRAM:
        put_link(interpreter, root + PROGRAM)
    shutil.copytree(library, root + library, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    drop_dead_links(root + library)
    modules = [path for path in entries(root + library) if elf.is_elf(path)]
    loaded = elf.libraries([interpreter, ENV, *modules])
    for path in loaded | elf.by_name(map(os.path.dirname, loaded)):
        copy(path, root)
    drop_debug_sections(root)
    copy_system_files(root)
    origins = debian.owners(path.removeprefix(root) for path in entries(root) if os.path.isfile(path))
    debian.keep_records({*origins, "ca-certificates"} & debian.paragraphs().keys(), root)
    remember_libraries(root)
    compile_all(root + library, root)
    finish(root)


def drop_debug_sections(root: str) -> list[str]:
    """Make all programs and modules below `root` as small as they get, and return their paths."""
    found = [path for path in entries(root) if elf.is_elf(path)]
    for path in found:
        elf.drop_debug_sections(path)
    return found


def copy_system_files(root: str) -> None:
    """What programs expect of a system: names, certificates, a folder for temporary files."""
    for path in ("/etc/os-release", "/etc/debian_version", "/etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(path):
            copy(path, root)
    place = ssl.get_default_verify_paths().openssl_cafile  # where OpenSSL looks when nobody tells it
    if place != "/etc/ssl/certs/ca-certificates.crt":
        put_link("/etc/ssl/certs/ca-certificates.crt", root + place)
    write(
        f"{root}/etc/passwd",
        f"root:x:0:0:root:/root:/nonexistent\nsidecar:x:{USER}:{USER}:sidecar:/nonexistent:/nonexistent\n",
    )
    write(f"{root}/etc/group", f"root:x:0:\nsidecar:x:{USER}:\n")
    write(f"{root}/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    # Docker mounts a tmpfs over it with the mode that this folder has, whatever mode it is asked for.
    os.makedirs(f"{root}/tmp")
    os.chmod(f"{root}/tmp", 0o1777)


def remember_libraries(root: str) -> None:
    """Write the loader's cache where libraries are outside its own folders (/usr/local/lib of the official images)."""
    if os.path.dirname(os.path.realpath(sys.executable)) == os.path.dirname(PROGRAM):
        return
    for path in ("/etc/ld.so.conf", *glob.glob("/etc/ld.so.conf.d/*.conf")):
        copy(path, root)
    subprocess.run(["/sbin/ldconfig", "-r", root], check=True)
    shutil.rmtree(f"{root}/var/cache", ignore_errors=True)  # holds inode numbers


def packages(name: str, root: str) -> None:
    """Fill `root` with the packages of the image `name`: a sidecar, "sidecar" (all of them in one) or "devstack"."""
    target = root + sysconfig.get_path("purelib")
    install(target)
    for path in (path for pattern in UNUSED for path in glob.glob(f"{target}/{pattern}", recursive=True)):
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    everyone, tools = declared_in(target)
    chosen = {one: declared for one, declared in everyone.items() if name in {one, "sidecar"}}
    others = [other.folder for one, other in everyone.items() if one not in chosen]
    others += [] if name == "sidecar" else [tool.replace("-", "_") for tool in tools]
    prune(target, others if name == "devstack" else [*others, "devstack"])
    for program in ("sidecar", *chosen):
        write(f"{root}/usr/bin/{program}", start_script("main" if program == "sidecar" else "named"), 0o755)
    ports = " ".join(declared.probe for declared in chosen.values() if declared.serves)
    write(f"{root}/usr/bin/sidecar-probe", probe_script(read(f"{target}/sidecars/probe.py"), ports), 0o755)
    for path in elf.libraries(drop_debug_sections(target)):
        if not os.path.exists(PYTHON_ROOT + os.path.realpath(path)):
            copy(path, root)
    states = [declared.state for declared in chosen.values() if declared.state]
    for folder in (*states, *(DEVSTACK_WRITES if name == "devstack" else ())):
        os.makedirs(root + folder)
        os.chown(root + folder, USER, USER)
    write(f"{root}/usr/share/sbom/{name}.cdx.json", sbom.document(name, target, STATUS))
    compile_all(target, root)
    finish(root)


def nothing(name: str, root: str) -> None:
    """Fill `root` with the bill of materials of an image that holds no packages of ours."""
    write(f"{root}/usr/share/sbom/{name}.cdx.json", sbom.document(name, "/nonexistent", STATUS))
    finish(root)


def install(target: str) -> None:
    """Install the locked wheels, and ours, out of /wheels, which is all the network there is."""
    subprocess.run([sys.executable, "-m", "venv", INSTALLER], check=True)  # Debian packs pip for these only
    pip = [f"{INSTALLER}/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", "/wheels"]
    pip += ["--disable-pip-version-check", "--root-user-action", "ignore", "--no-compile", "--target", target]
    locks = [word for lock in sorted(glob.glob("/wheels/*.txt")) for word in ("--requirement", lock)]
    subprocess.run([*pip, "--require-hashes", *locks], check=True)
    subprocess.run([*pip, "--no-deps", "--upgrade", "sidecars"], check=True)
    shutil.rmtree(f"{target}/bin", ignore_errors=True)  # scripts for the interpreter of the build


def declared_in(target: str) -> tuple[dict[str, "Declaration"], list[str]]:
    """Return the declarations of all sidecars in the wheel, and the names of the tools."""
    sys.path.insert(0, target)
    from sidecars.declaration import declarations, tools  # installed only now

    return declarations(), list(tools())


def prune(target: str, folders: list[str]) -> None:
    """Remove the code of what this image is not for, also from the wheel's list of its files. Declarations stay: a
    sidecar has to know its fellows in a pod.
    """
    declared = {path: read(path) for path in glob.glob(f"{target}/sidecars/*/sidecar.toml")}
    for folder in folders:
        shutil.rmtree(f"{target}/sidecars/{folder}")
    for path, text in declared.items():
        write(path, text)
    (record,) = glob.glob(f"{target}/sidecars-*.dist-info/RECORD")
    gone = re.compile(rf"sidecars/({'|'.join(folders)})/(?!sidecar\.toml,)|\.\./")
    write(record, "".join(line for line in read(record).splitlines(keepends=True) if not gone.match(line)))


def probe_script(source: str, ports: str) -> str:
    """Return the program sidecar-probe, which knows the ports that the sidecars of its image declare."""
    head, last, tail = source.partition('\n\nif __name__ == "__main__":\n')
    known = f'\n\nposix.environ.setdefault(b"SIDECAR_PROBE", {ports.encode()!r})' if ports else ""
    return f"#!{PROGRAM} -IS\n{head}{known}{last}{tail}"


def start_script(function: str) -> str:
    """Return a program that runs a function of `sidecars.__main__`; isolated: no variable leads it elsewhere."""
    return f"#!{PROGRAM} -I\nimport sys\n\nfrom sidecars.__main__ import {function}\n\nsys.exit({function}())\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["python", root]:
            python(root)
        case ["packages", "", _]:
            raise SystemExit("cannot make an image: say of which sidecar, as in --build-arg SIDECAR=log-shipper")
        case ["packages", name, root]:
            packages(name, root)
        case ["nothing", name, root]:
            nothing(name, root)
        case words:
            raise SystemExit(f"cannot assemble {words}: see the text above in this file")
