"""Whether the pages of a published folder show its record: what people look at is the page."""

from __future__ import annotations

import re

from llmbench import storage
from llmbench.publishing.manifest import Publication
from llmbench.publishing.publish import draw_files
from llmbench.results.record import Record

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z0-9+-]+")  # in the zone of who drew it


def list_redrawn(publication: Publication, record: Record) -> list[str]:
    """Return the files that this llmbench draws otherwise from the same record, whatever zone their
    times are in.

    Another version may draw otherwise, too: that a file differs does not say that it was forged.
    """
    found = []
    for name, text in draw_files(publication.folder, record).items():
        raw = b""
        if name in publication.manifest.files:
            raw = storage.read_bytes(publication.folder / name)
        if TIME.sub("", raw.decode("utf-8", "replace")) != TIME.sub("", text):
            found.append(name)
    return found
