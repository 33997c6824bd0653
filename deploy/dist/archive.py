"""Tar archives that depend on nothing but their content: order, owner, time and mode are ours."""

import gzip
import io
import os
import tarfile


def epoch():
    """The time that every file of a release has."""
    return int(os.environ["SOURCE_DATE_EPOCH"])


def tar(entries):
    """A tar archive of (name, bytes, mode), in order of name, each folder before what is in it."""
    entries = sorted(entries)
    folders = {name[: i + 1] for name, _, _ in entries for i, c in enumerate(name) if c == "/"}
    members = [(folder, None, 0o755) for folder in folders] + entries
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, mode in sorted(members, key=lambda member: member[0]):
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode, member.mtime = mode, epoch()
            if content is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return output.getvalue()


def compressed(data):
    """gzip without a file name, and with the time of the release."""
    output = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=output, mode="wb", compresslevel=9, mtime=epoch()) as stream:
        stream.write(data)
    return output.getvalue()


def read(path):
    """(content, mode) of a file; of the mode only whether it is a program."""
    with open(path, "rb") as file:
        return file.read(), 0o755 if os.access(path, os.X_OK) else 0o644
