"""``report.json`` as one HTML page that needs nothing else: no script, style, font or picture from anywhere.

Every part of the report is optional: what is missing is left out. Whatever comes from the report is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgecv_export.report import sections
from edgecv_export.report.svg import element, text
from edgecv_export.report.thumbnails import load_thumbnails
from edgecv_runtime._version import __version__
from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image
from edgecv_runtime.manifest import Manifest

# The browser itself holds the page to it: nothing is fetched.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def render_page(
    report: Mapping[str, Any],
    *,
    manifest: Manifest | None = None,
    thumbnails: Mapping[str, Image] | None = None,
) -> str:
    """The page of a report.

    Parameters
    ----------
    report : mapping
        As in a bundle's ``report.json``. Parts that are read: ``size``, ``size_parts`` (`size_report`), ``parameters``,
        ``macs``, ``parity``, ``accuracy``, ``latency``, ``max_drop`` (points), ``layers`` (`LayerError.to_dict`),
        ``search``, ``worst_images`` and ``advice`` (`Advice.to_dict`).
    manifest : Manifest, optional
        Gives the name, the format and the precision.
    thumbnails : mapping of str to (H, W, 3) uint8 RGB, optional
        Pictures of the worst images, by the ``file`` of their entry.

    Returns
    -------
    str
        A complete HTML document, UTF-8.

    Raises
    ------
    InputError
        A part of the report is not of the shape it should have.

    Examples
    --------
    >>> page = render_page({"size": 1000})
    >>> page.startswith("<!DOCTYPE html>")
    True
    """
    parts = {
        "header": lambda: sections.header(report, manifest),
        "size_parts": lambda: sections.size(report),
        "advice": lambda: sections.advice(report.get("advice")),
        "search": lambda: sections.search(report),
        "layers": lambda: sections.layers(report.get("layers")),
        "worst_images": lambda: sections.worst_images(report.get("worst_images"), thumbnails or {}),
    }
    content = []
    for name, part in parts.items():
        try:
            content.append(part())
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            where = "the report" if name == "header" else f"{name!r} in the report"
            raise InputError(f"{where} is not as an export writes it ({reason:.120}): export again") from error
    title = "report" if manifest is None else f"{manifest.name}: {manifest.format} {manifest.precision}"
    head = "".join(
        [
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            element("title", text(title)),
            f"<style>\n{_resource('page.css')}</style>",
        ]
    )
    main = element("main", *content, sections.footer(manifest, __version__))
    body = f"<body>\n{main}\n<script>\n{_resource('page.js')}</script>\n</body>"
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n{body}\n</html>\n'


def write_page(
    path: str | Path,
    report: Mapping[str, Any],
    *,
    manifest: Manifest | None = None,
    images: str | Path | None = None,
) -> None:
    """Write the page of a report to a file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ends in ``.html`` or ``.htm``.
    report, manifest
        As in `render_page`.
    images : folder, optional
        Holds the worst images.

    Raises
    ------
    InputError
        Another suffix, or a report of another shape.
    MissingFileError
        No such folder of images.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    check_page_path(path)
    thumbnails = {} if images is None else load_thumbnails(report, images)
    write_atomically(path, render_page(report, manifest=manifest, thumbnails=thumbnails).encode())


def check_page_path(path: str | Path) -> None:
    """Refuse a page whose name a browser would not take for one.

    Raises
    ------
    InputError
    """
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise InputError(f"a report's page must end in .html; received {Path(path).name!r}")


def _resource(name: str) -> str:
    return files("edgecv_export.report").joinpath(name).read_text(encoding="utf-8")
