"""A run's small files in one archive, to carry to another machine: what tables, figures and page are made from."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from rodflow.errors import InvalidInput
from rodflow.jobs.files import atomic, refused_as

PACKED = (".parquet", ".json", ".csv", ".md", ".yaml")
"""Series, summaries, tables, config. Not the runs' states (.h5), images or checkpoints, which take most of the space:
where a flow is missing, its run is trained again.
"""
LARGEST = 10**9
"""Bytes of all files of an archive that is taken up."""


def pack(results: Path, archive: Path) -> None:
    """Write what is small of a run below ``results`` into a zip file. The same files give the same bytes."""
    files = sorted(file for file in results.rglob("*") if file.suffix in PACKED and file.is_file())
    with atomic(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as target:
        for file in files:
            name = zipfile.ZipInfo(file.relative_to(results).as_posix())
            name.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(name, file.read_bytes())


def unpack(archive: Path, results: Path) -> None:
    """Put the files of an archive that :func:`pack` wrote below ``results``, in the place of those of the same names.

    Raises: ``InvalidInput`` if it is no such archive; then nothing is written.
    """
    with refused_as(archive, "an archive that --pack wrote"), zipfile.ZipFile(archive) as source:
        names = source.infolist()
        for name in names:
            path = PurePosixPath(name.filename)
            if path.is_absolute() or ".." in path.parts or path.suffix not in PACKED:
                raise InvalidInput(
                    str(archive), name.filename, f"names below a folder, that end in {', '.join(PACKED)}"
                )
        if sum(name.file_size for name in names) > LARGEST:
            raise InvalidInput("file", str(archive), f"an archive of at most {LARGEST} bytes")
        if (damaged := source.testzip()) is not None:
            raise InvalidInput(str(archive), damaged, "a file whose checksum is right")
        for name in names:
            with atomic(results / name.filename) as temporary:
                temporary.write_bytes(source.read(name))
