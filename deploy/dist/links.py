"""links.py FOLDER: in the documents of a folder, links to files that are not in it become their text. Prints them."""

import pathlib
import re
import sys


def main(folder):
    for page in sorted(pathlib.Path(folder).rglob("*.md")):

        def text_alone(link, page=page):
            file = link[2].partition("#")[0]
            if "://" in file or not file or (page.parent / file).exists():
                return link[0]
            print(f"{page.relative_to(folder)}: {link[2]}")
            return link[1]

        before = page.read_text(encoding="utf-8")
        # Not of pictures; code of our documents has none.
        after = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", text_alone, before)
        if after != before:
            page.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
