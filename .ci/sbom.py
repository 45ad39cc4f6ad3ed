#!/usr/bin/env python3
"""What the program is made of, as a CycloneDX 1.5 bill of materials on stdout: .ci/sbom.py [PACKAGE] > wimhf.cdx.json

Every crate that is compiled into PACKAGE (the command by default) on this kind of machine or runs while it is built, tests and benches left out, with version,
licence, checksum and what needs what. Reads `cargo metadata` and Cargo.lock; nothing is fetched that a build would not. The same
tree gives the same text. Standard library only.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

root = pathlib.Path(__file__).resolve().parent.parent
wanted = sys.argv[1] if len(sys.argv) > 1 else "wimhf-cli"
host = re.search(r"(?m)^host: (.+)$", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout).group(1)
metadata = json.loads(subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host], cwd=root, check=True, capture_output=True).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
lock = tomllib.loads((root / "Cargo.lock").read_text())
checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}


def needs(node):
    """Dependencies that are compiled for a build."""
    used = [one for one in node["deps"] if any(kind["kind"] != "dev" for kind in one["dep_kinds"])]
    return sorted({one["pkg"] for one in used})


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


start = next((key for key, package in packages.items() if package["name"] == wanted), None)
if start is None:
    sys.exit(f"there is no package `{wanted}` in this workspace")
found, waiting = set(), [start]
while waiting:
    one = waiting.pop()
    if one not in found:
        found.add(one)
        waiting += needs(nodes[one])


def component(key):
    package = packages[key]
    made = {"type": "application" if key == start else "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"], "purl": purl(package)}
    if package.get("license"):
        # `MIT/Apache-2.0` is how it was written before there were expressions.
        made["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


ordered = sorted(found, key=lambda key: (packages[key]["name"], packages[key]["version"]))
edges = [{"ref": purl(packages[key]), "dependsOn": [purl(packages[one]) for one in needs(nodes[key])]} for key in ordered]
serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(edges))
bill = {
    "bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1,
    "metadata": {"component": component(start)},
    "components": [component(key) for key in ordered if key != start],
    "dependencies": edges,
}
json.dump(bill, sys.stdout, indent=1)
print()
