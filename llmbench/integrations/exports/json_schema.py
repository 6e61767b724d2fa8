"""The JSON schema of the record, draft 2020-12: what programs that read run.json can rely on."""

from __future__ import annotations

import json

from llmbench.integrations.exports.target import Export, File, Source
from llmbench.results.record import Record
from llmbench.results.schema import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make(source: Source) -> Export:
    """Return the schema of the record's version; the run only has to be one that is read."""
    schema = {
        "$schema": DIALECT,
        "$comment": f"schema {SCHEMA} of llmbench's record, run.json",
        **Record.model_json_schema(by_alias=True),
    }
    text = json.dumps(schema, indent=1, ensure_ascii=False, sort_keys=True)
    return Export([File("run.schema.json", f"{text}\n".encode())])
