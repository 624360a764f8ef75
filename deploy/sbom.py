#!/usr/bin/env python3
"""What is linked into the program that packages carry, as a CycloneDX bill of materials.

    deploy/sbom.py make FILE BINARY     writes it; BINARY is asked which compiler's standard library is in it
    deploy/sbom.py check FILE           says whether it is whole, by another way than it was made

cargo-cyclonedx reads the crates with their licences and checksums; what it does not know is added here: the C code and the
standard library that are linked in, and the script of the phone's page. What it says of this machine and this moment is
taken out, so that one commit gives the same bytes everywhere. Crates that only run while the program is compiled (procedural
macros and what they are made of) are left out, as they are in nobody's memory. One file serves the packages of all three
architectures: a component that is not in each of them has the property `hearthlink:architectures`.

Looked at on 2026-11-30: cargo-cyclonedx 0.5.9 (CycloneDX's own; features and target can be said, checksums and licences come
along), cargo-sbom 0.10 (SPDX first; neither features nor a target can be said, so rumqttd and Windows would be in the list),
cargo-auditable (puts the names into the binary and writes no file; docs/releasing.md says why not).
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CYCLONEDX = "0.5.9"
# Debian's names and Rust's. The second is what deploy/build.sh compiles for.
TARGETS = {
    "amd64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "armhf": "arm-unknown-linux-gnueabihf",
}
ARCHITECTURES = "hearthlink:architectures"


def cargo(*arguments):
    return subprocess.run(
        [os.environ.get("CARGO", "cargo"), *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def metadata():
    return json.loads(cargo("metadata", "--locked", "--format-version", "1", "--no-default-features"))


def linked(target):
    """(name, version) of each crate in the program, our own included, as cargo tells it."""
    tree = cargo(
        "tree", "--locked", "--no-default-features", "--edges", "normal,no-proc-macro", "--target", target,
        "--prefix", "none", "--no-dedupe", "--format", "{p}",
    )
    # A procedural macro that we name ourselves is in it all the same, marked.
    lines = [line for line in tree.splitlines() if line and "(proc-macro)" not in line]
    return {(line.split()[0], line.split()[1].removeprefix("v")) for line in lines}


def described(architecture):
    """What cargo-cyclonedx says. It writes beside Cargo.toml and nowhere else."""
    name = f".sbom-{architecture}"
    written = ROOT / f"{name}.json"
    try:
        cargo(
            "cyclonedx", "--quiet", "--no-default-features", "--no-build-deps", "--target", TARGETS[architecture],
            "--format", "json", "--spec-version", "1.5", "--override-filename", name,
        )
        return json.loads(written.read_text())
    finally:
        written.unlink(missing_ok=True)


def folder(packages, name):
    """Where a crate's source is."""
    found = [Path(package["manifest_path"]).parent for package in packages if package["name"] == name]
    if len(found) != 1:
        sys.exit(f"sbom: {name} is there {len(found)} times, so its C code is not known")
    return found[0]


def first(pattern, text, where):
    match = re.search(pattern, text)
    if match is None:
        sys.exit(f"sbom: {where} does not say its version any more")
    return match.group(1)


def without_crates(packages, binary):
    """What is in the package and is no crate: read where it lies, never written down here."""
    sqlite = first(
        r'#define SQLITE_VERSION\s+"([^"]+)"',
        (folder(packages, "libsqlite3-sys") / "sqlite3/sqlite3.h").read_text(),
        "sqlite3.h",
    )
    dbus = first(
        r"(?m)^dbus (\d+\.\d+\.\d+) ", (folder(packages, "libdbus-sys") / "vendor/dbus/NEWS").read_text(), "dbus' NEWS"
    )
    ring = next(package["version"] for package in packages if package["name"] == "ring")
    std = first(rb"rustc version (\d+\.\d+\.\d+)", Path(binary).read_bytes(), binary).decode()
    scripts = sorted((ROOT / "deploy/phone").glob("mqtt-*.min.js"))
    if len(scripts) != 1:
        sys.exit("sbom: the phone's page has not one mqtt.js")
    mqttjs = first(r"mqtt-(.+)\.min\.js", scripts[0].name, "deploy/phone")

    def library(name, version, licence, purl, about):
        return {
            "type": "library", "bom-ref": purl, "name": name, "version": version, "description": about,
            "licenses": [{"expression": licence}], "purl": purl,
        }

    return [
        ("libsqlite3-sys", library(
            "sqlite", sqlite, "blessing", f"pkg:generic/sqlite@{sqlite}?download_url=https://www.sqlite.org",
            "C, compiled from the source in libsqlite3-sys",
        )),
        ("libdbus-sys", library(
            "dbus", dbus, "AFL-2.1 OR GPL-2.0-or-later",
            f"pkg:generic/dbus@{dbus}?download_url=https://dbus.freedesktop.org",
            "C, libdbus-1, compiled from the source in libdbus-sys",
        )),
        # BoringSSL has no versions: the parts are known by the crate that has them.
        ("ring", library(
            "boringssl", f"ring-{ring}", "Apache-2.0 AND ISC",
            f"pkg:generic/boringssl@ring-{ring}?vcs_url=https://boringssl.googlesource.com/boringssl",
            "C and assembly of BoringSSL's cryptography, in the crate ring",
        )),
        ("hearthlink", library(
            "rust-std", std, "MIT OR Apache-2.0", f"pkg:generic/rust-std@{std}?download_url=https://www.rust-lang.org",
            "Rust's standard library, with the crates that it is made of",
        )),
        ("hearthlink", library(
            "mqtt", mqttjs, "MIT", f"pkg:npm/mqtt@{mqttjs}",
            "mqtt.js, in the phone's page; no part of the program",
        )),
    ]


def make(path, binary):
    said = subprocess.run(["cargo", "cyclonedx", "--version"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    if said.split()[-1:] != [CYCLONEDX]:
        sys.exit(f"sbom: cargo-cyclonedx {CYCLONEDX} is wanted: "
                 f"cargo install cargo-cyclonedx --locked --version {CYCLONEDX}")
    components, edges, within = {}, {}, {}
    for architecture, target in TARGETS.items():
        document, members = described(architecture), linked(target)
        own = document["metadata"]["component"]
        refs = {own["bom-ref"]: f"pkg:cargo/hearthlink@{own['version']}"}
        for component in document["components"]:
            if (component["name"], component["version"]) in members:
                refs[component["bom-ref"]] = component["purl"]
                kept = ("type", "name", "version", "hashes", "licenses", "purl")
                components[component["purl"]] = {"bom-ref": component["purl"]} | {
                    name: component[name] for name in kept if name in component
                }
                within.setdefault(component["purl"], []).append(architecture)
        for entry in document["dependencies"]:
            if entry["ref"] in refs:
                below = {refs[ref] for ref in entry.get("dependsOn", []) if ref in refs}
                edges.setdefault(refs[entry["ref"]], set()).update(below)
    for crate, component in without_crates(metadata()["packages"], binary):
        components[component["purl"]] = component
        edges[component["purl"]] = set()
        edges[next(ref for ref in edges if ref.startswith(f"pkg:cargo/{crate}@"))].add(component["purl"])
    for purl, architectures in within.items():
        if len(architectures) < len(TARGETS):
            components[purl]["properties"] = [{"name": ARCHITECTURES, "value": " ".join(architectures)}]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": [{"vendor": "CycloneDX", "name": "cargo-cyclonedx", "version": CYCLONEDX}],
            "component": {
                "type": "application",
                "bom-ref": f"pkg:cargo/hearthlink@{own['version']}",
                "name": "hearthlink",
                "version": own["version"],
                "description": own["description"],
                "licenses": own["licenses"],
                "purl": f"pkg:cargo/hearthlink@{own['version']}",
            },
        },
        "components": [components[purl] for purl in sorted(components)],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(edges[ref])} if edges[ref] else {"ref": ref} for ref in sorted(edges)
        ],
    }
    Path(path).write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    check(path)


def check(path):
    """Ends with what is missing or too much."""
    text = Path(path).read_text()
    document, faults = json.loads(text), []
    components = document["components"]
    for component in [document["metadata"]["component"], *components]:
        for field in ("type", "bom-ref", "name", "version", "licenses", "purl"):
            if not component.get(field):
                faults.append(f"{component.get('purl', component)} has no {field}")
        if component["purl"].startswith("pkg:cargo/") and component["name"] != "hearthlink" and not component["hashes"]:
            faults.append(f"{component['purl']} has no checksum")
    refs = {component["bom-ref"] for component in components} | {document["metadata"]["component"]["bom-ref"]}
    if len(refs) != len(components) + 1:
        faults.append("a component is there twice")
    for entry in document["dependencies"]:
        faults += [f"{ref} is depended on and not there" for ref in {entry["ref"], *entry.get("dependsOn", [])} - refs]
    for architecture, target in TARGETS.items():
        listed = {("hearthlink", document["metadata"]["component"]["version"])}
        for component in components:
            only = {entry["name"]: entry["value"] for entry in component.get("properties", [])}.get(ARCHITECTURES)
            is_here = only is None or architecture in only.split()
            if is_here and component["purl"].startswith("pkg:cargo/"):
                listed.add((component["name"], component["version"]))
        wanted = linked(target)
        faults += [f"{architecture}: {name} {version} is missing" for name, version in sorted(wanted - listed)]
        faults += [f"{architecture}: {name} {version} is too much" for name, version in sorted(listed - wanted)]
    others = {component["name"] for component in components if not component["purl"].startswith("pkg:cargo/")}
    faults += [f"{name} is missing" for name in sorted({"sqlite", "dbus", "boringssl", "rust-std", "mqtt"} - others)]
    faults += [f"it names {ours}" for ours in (str(ROOT), str(Path.home()), "file://", "timestamp") if ours in text]
    if faults:
        sys.exit("sbom: " + "\nsbom: ".join(faults))
    print(f"sbom: {len(components)} components, none missing, none too much")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", path, binary]:
            make(path, binary)
        case ["check", path]:
            check(path)
        case _:
            sys.exit(__doc__)
