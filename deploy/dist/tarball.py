"""tarball.py OUTPUT.tar.gz FOLDER: packs what a folder holds under the folder's name."""

import os
import sys

import archive


def main(output, folder):
    top = os.path.basename(os.path.normpath(folder))
    entries = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            entries.append((os.path.join(top, os.path.relpath(path, folder)), *archive.read(path)))
    with open(output, "wb") as file:
        file.write(archive.compressed(archive.tar(entries)))


if __name__ == "__main__":
    main(*sys.argv[1:])
