"""The bill of materials of an image, as CycloneDX 1.6: which Debian packages and which wheels its files come from.

Made from what is in the image, not from a list of wishes. No time and no random number in it: the same image has the
same one. https://cyclonedx.org/docs/1.6/json/
"""

import email.message
import email.parser
import glob
import json
import os
import platform
import uuid

import debian

_NAMESPACE = uuid.UUID("6f1b1c0e-6a55-4a0e-9d49-3f3b6d5f8a10")


def document(name: str, packages: str, status: str) -> str:
    """Return the JSON for the image `name`: wheels in the folder `packages`, Debian paragraphs in `status`."""
    components = [*wheels(packages), *interpreter(status), *debs(status)]
    versions = [part["version"] for part in components if part["name"] == "sidecars"]
    subject = {"type": "container", "name": f"sidecars/{name}", "bom-ref": f"image:{name}"}
    if versions:
        subject["version"] = str(versions[0])
    text = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(text, sort_keys=True))
    return json.dumps({**text, "serialNumber": f"urn:uuid:{serial}"}, indent=1) + "\n"


def wheels(folder: str) -> list[dict[str, object]]:
    """Return a component per installed wheel, from its metadata."""
    found = []
    for path in sorted(glob.glob(f"{folder}/*.dist-info/METADATA")):
        with open(path, encoding="utf-8") as file:
            said = email.parser.HeaderParser().parse(file)
        name, version = str(said["Name"]), str(said["Version"])
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
        found.append({**component(name, version, purl), **licence(said)})
    return found


def component(name: str, version: str, purl: str) -> dict[str, object]:
    """Return a component that is a library."""
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def licence(said: email.message.Message) -> dict[str, object]:
    """Return the licence as the wheel states it: an SPDX expression, or whatever words it has."""
    if expression := said["License-Expression"]:
        return {"licenses": [{"expression": str(expression)}]}
    troves = [str(line) for line in said.get_all("Classifier", [])]
    trove = [line.rpartition(" :: ")[2] for line in troves if line.startswith("License ::")]
    words = str(said["License"] or "").partition("\n")[0] or " and ".join(trove)
    return {"licenses": [{"license": {"name": words}}]} if words else {}


def interpreter(status: str) -> list[dict[str, object]]:
    """Return CPython itself where it came with the base image and not as a Debian package."""
    if glob.glob(f"{status}/libpython3*"):
        return []
    version = platform.python_version()
    return [component("python", version, f"pkg:generic/python@{version}")]


def debs(folder: str) -> list[dict[str, object]]:
    """Return a component per Debian package."""
    found = []
    release = os_release()
    for path in sorted(glob.glob(f"{folder}/*")):
        with open(path, encoding="utf-8") as file:
            said = file.read()
        name, version, machine = (debian.field(said, key) for key in ("Package", "Version", "Architecture"))
        purl = f"pkg:deb/{release['ID']}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={machine}"
        purl += f"&distro={release['ID']}-{release['VERSION_ID']}" if "VERSION_ID" in release else ""
        found.append(component(name, version, purl))
    return found


def os_release() -> dict[str, str]:
    """Return the words of /etc/os-release."""
    if not os.path.exists("/etc/os-release"):
        return {"ID": "linux"}
    with open("/etc/os-release", encoding="utf-8") as file:
        pairs = (line.strip().partition("=") for line in file if "=" in line)
        return {key: value.strip('"') for key, _, value in pairs}
