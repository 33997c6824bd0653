"""licences.py OUTPUT TARGET...: the licences of everything that is linked into the binaries for these targets.

Fails when a crate brings no licence text, so that none is left out unnoticed.
"""

import os
import re
import sys

import crates

NAMES = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)
RULE = "=" * 100


def texts(package):
    folder = os.path.dirname(package["manifest_path"])
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if NAMES.match(name) and os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                yield file.read().replace("\r\n", "\n").strip() + "\n"


def main(output, *targets):
    packages = {(p["name"], p["version"]): p for target in targets for p in crates.shipped(target)[1:]}
    holders = {}
    for (name, version), package in sorted(packages.items()):
        found = list(texts(package))
        if not found:
            raise SystemExit(f"{name} {version} ({package['license']}) has no licence text")
        for text in found:
            holders.setdefault(text, []).append(f"{name} {version} ({package['license']})")

    with open(os.path.join(os.path.dirname(__file__), "linked-in.txt"), encoding="utf-8") as file:
        sections = [file.read()]
    # The same text once, however many crates come with it.
    for text, names in holders.items():
        sections.append("\n".join(names) + "\n\n" + text)
    with open(output, "w", encoding="utf-8") as file:
        file.write("auth-proxy is licensed under Apache-2.0 (LICENSE). Its binary also holds what follows.\n")
        for section in sections:
            file.write(f"\n{RULE}\n\n{section}")


if __name__ == "__main__":
    main(*sys.argv[1:])
