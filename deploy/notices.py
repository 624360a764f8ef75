#!/usr/bin/env python3
"""The notices of everything that is linked into the program of the packages, as their licences ask for.

    deploy/notices.py FILE.gz

Each crate's own licence and notice files, the same text once with all whose it is; of a crate that ships none, its licence's name
and its authors. The files lie where cargo has unpacked the crates; nothing is asked of a network. Deterministic: sorted,
and the archive has no date. Not cargo-about: it guesses a licence's text where this has the author's own, and is one more
program to build.
"""

import gzip
import re
import sys
from pathlib import Path

from sbom import TARGETS, linked, metadata

NAMES = re.compile(r"(?i)^(un)?licen[cs]e|^copying|^copyright|^notice")


def notices(crate):
    """The texts of a crate's licence files, those of C code that it brings along included."""
    root = Path(crate["manifest_path"]).parent
    folders = [root, *root.glob("LICENSES"), *root.glob("vendor/*")]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.is_file() and NAMES.search(file.name)]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return ["\n".join(line.rstrip() for line in text.splitlines()).strip("\n") for text in texts]


def main(out):
    members = set().union(*(linked(target) for target in TARGETS.values()))
    crates = {(crate["name"], crate["version"]): crate for crate in metadata()["packages"]}
    owners, bare = {}, []
    for member in sorted(members):
        if member[0] == "hearthlink":
            continue
        name, texts = " ".join(member), notices(crates[member])
        for text in texts:
            owners.setdefault(text, []).append(name)
        if not texts:
            authors = ", ".join(re.sub(r" *<.*?>", "", author) for author in crates[member]["authors"]) or "its contributors"
            bare.append(f"{name}: {crates[member]['license']}, by {authors}")
    head = "Notices of the libraries that are linked into /usr/bin/hearthlink. What Hearthlink itself may be used for is said in\n" \
           "`copyright` beside this file, and so are the licences of those whose source has no text of its own:\n"
    parts = [head + "".join(f"\n  {line}" for line in bare)]
    for text, names in sorted(owners.items(), key=lambda entry: entry[1]):
        parts.append("=" * 100 + "\n" + "\n".join(dict.fromkeys(names)) + "\n" + "-" * 100 + "\n\n" + text)
    packed = gzip.compress(("\n\n".join(parts) + "\n").encode(), compresslevel=9, mtime=0)
    Path(out).write_bytes(packed)
    print(f"notices: {len(owners)} texts, {len(bare)} of {len(members) - 1} crates without one, {len(packed)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
