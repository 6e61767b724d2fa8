"""`llmbench vote` and `llmbench votes import`, as a shell runs them."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

from click.testing import CliRunner
from support.polls import MODELS, make_run
from support.run_helpers import llmbench

from llmbench.cli.main import cli
from llmbench.votes import opening


def test_vote_serves_the_page_until_it_is_interrupted(tmp_path):
    run = make_run(tmp_path)
    command = [sys.executable, "-m", "llmbench", "vote", str(run), "--no-open", "--rater", "ada"]
    served = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    address = served.stdout.readline().strip()
    with urllib.request.urlopen(address, timeout=20) as page:
        text = page.read().decode()
    served.send_signal(signal.SIGINT)
    _, said = served.communicate(timeout=20)
    assert '"rater":"ada"' in text
    assert served.returncode == 0
    assert f"0 on continuation in {run / 'votes.jsonl'}" in said
    assert "Traceback" not in said


def test_a_shared_file_names_no_model(tmp_path):
    run = make_run(tmp_path / "run")
    file = tmp_path / "votes.html"
    done = CliRunner().invoke(cli, ["vote", str(run), "--share", str(file)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(file))
    text = file.read_text(encoding="utf-8")
    assert not any(name in text for name in MODELS)
    assert "connect-src 'none'" in text
    assert not (run / "votes.jsonl").exists()


def test_import_says_what_became_of_each_file(tmp_path):
    run = make_run(tmp_path / "run")
    poll = opening.open_poll(run)
    item = next(iter(poll.pairs))
    ticket = poll.show(poll.pairs[item], turned=False).ticket.model_dump()
    reply = {"identity": "reply-000001", "ticket": ticket, "verdict": "tie"}
    data = {"llmbench": "votes/1", "poll": poll.poll_id, "task": "continuation", "rater": "ada"}
    data["replies"] = [{**reply, "time": "2026-01-31T12:00:00Z"}]
    file = tmp_path / "back.json"
    file.write_text(json.dumps(data))
    done = CliRunner().invoke(cli, ["votes", "import", str(run), str(file), str(file)])
    assert done.exit_code == 0
    assert done.stdout == f"{file}: 1 new, 0 known, 0 refused\n{file}: 0 new, 1 known, 0 refused\n"


def test_a_run_without_text_is_refused_in_one_line(tmp_path):
    done = llmbench("vote", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("llmbench: run.json: cannot read the record")
    assert done.stderr.count("\n") == 1
