"""The keys of cards say what they mean, wherever they are shown."""

from __future__ import annotations

import json

from click.testing import CliRunner

from llmbench.cli.main import cli


def read_schema():
    done = CliRunner().invoke(cli, ["adapters", "--schema"])
    return json.loads(done.stdout)


def test_every_key_of_a_card_and_of_what_is_in_it_has_a_description():
    found = read_schema()
    objects = {"Card": found, **found["$defs"]}
    bare = [
        f"{title}.{name}"
        for title, one in objects.items()
        for name, facts in one.get("properties", {}).items()
        if not facts.get("description")
    ]
    assert bare == []
    assert set(objects) >= {"Card", "Recipe", "NetworkSpec", "ServerSettings", "GGUFSettings"}


def test_a_schema_names_the_keys_as_cards_write_them():
    found = read_schema()
    assert "class" in found["$defs"]["NetworkSpec"]["properties"]
    assert {"name", "adapter"} <= set(found["required"])
