"""A run's proof that was stopped, or was late, goes on with what it has found."""

from __future__ import annotations

import pytest
from support import zoo
from support.run_helpers import folder, llmbench, run_json

from llmbench import limits, storage
from llmbench.conformance import kit
from llmbench.conformance.certificates import of_run, of_weights
from llmbench.conformance.unfinished import OF_RUN, Unfinished, is_open
from llmbench.runner import worker

NAMES = list(kit.SAMPLED)


class Prover:
    """Certifies one model, as its worker does, and notes which checks are run."""

    def __init__(self, place, monkeypatch):
        self.place, self.adapter, self.asked = place, zoo.Windowed(), []
        self.whole, self.late, self.cause = kit.run, (), kit.BUSY
        monkeypatch.setattr(kit, "run", self.run)

    def run(self, subject, checks, timeout):
        (check,) = checks
        self.asked.append(check.name)
        (result,) = self.whole(subject, checks, timeout)
        if check.name in self.late:
            result = kit.replace(result, state="timeout", cause=self.cause, came="no answer")
        yield result

    def certify(self, known=None, stop_at=None):
        def report(what, share, check):
            if check == stop_at:
                raise KeyboardInterrupt

        if known is None:
            known = [storage.digest_file(file) for file in (self.place / OF_RUN).glob("*.json")]
        self.asked.clear()
        options = {"cache": str(self.place)}
        job = {"out": str(self.place / "out"), "options": options, "certificates": known}
        worker.certify(self.adapter, self.adapter.info, job, lambda event: None, report)
        return storage.read_sealed(of_run(self.place / "out", self.adapter.info.name))["levels"]

    @property
    def is_open(self):
        info = self.adapter.info
        return is_open(self.place, info.fingerprint, info.device)


@pytest.fixture
def prover(tmp_path, monkeypatch):
    return Prover(tmp_path, monkeypatch)


def test_a_proof_that_was_interrupted_goes_on_where_it_stopped(prover):
    assert not prover.is_open
    with pytest.raises(KeyboardInterrupt):
        prover.certify(stop_at=NAMES[4])
    assert prover.asked == NAMES[:4]
    assert prover.is_open
    levels = prover.certify()
    assert prover.asked == NAMES[4:]
    assert (levels["A1"]["state"], levels["A2"]["state"]) == ("earned", "earned")
    assert len(levels["A1"]["tried"] + levels["A2"]["tried"]) > 4
    assert not prover.is_open
    assert not list((prover.place / OF_RUN).glob("*.json"))


def test_what_another_models_code_wrote_meanwhile_is_not_believed(prover):
    with pytest.raises(KeyboardInterrupt):
        prover.certify(stop_at=NAMES[2])
    prover.certify(known=[])
    assert prover.asked == NAMES


@pytest.mark.parametrize(("cause", "goes_on"), [(kit.BUSY, True), (kit.LARGE, False)])
def test_a_late_check_is_asked_again_alone(prover, cause, goes_on):
    prover.late, prover.cause = ("normalised",), cause
    levels = prover.certify()
    assert levels["A2"]["state"] == "not tested"
    assert levels["A2"]["why"].startswith("normalised: no answer")
    assert ("run again, and it goes on with this check" in levels["A2"]["why"]) is goes_on
    assert prover.is_open is goes_on
    prover.late = ()
    assert prover.certify()["A2"]["state"] == "earned"
    assert prover.asked == ["normalised"]


def test_a_proof_of_a_slow_model_ends_and_goes_on_the_next_time(prover, monkeypatch):
    def run_some(subject, checks, timeout):
        yield from prover.run(subject, checks, timeout)
        if len(prover.asked) == 4:  # as if these had taken all the time there is
            monkeypatch.setattr(limits, "PROOF_WALL_SECONDS", -1.0)

    monkeypatch.setattr(kit, "run", run_some)
    levels = prover.certify()
    assert prover.asked == NAMES[:4]
    assert {levels["A1"]["state"], levels["A2"]["state"]} == {"not tested"}
    assert ": not begun: the checks before it took more than" in levels["A2"]["why"]
    assert "run again, and it goes on with this check" in levels["A2"]["why"]
    assert prover.is_open
    monkeypatch.setattr(limits, "PROOF_WALL_SECONDS", 300.0)
    monkeypatch.setattr(kit, "run", prover.run)
    levels = prover.certify()
    assert prover.asked == NAMES[4:]
    assert (levels["A1"]["state"], levels["A2"]["state"]) == ("earned", "earned")
    assert not prover.is_open


def test_other_weights_or_a_damaged_file_prove_nothing(tmp_path):
    result = kit.Result("limits", "rule", "passed", 1.0)
    Unfinished(tmp_path, OF_RUN, "f", "cpu").write([result])
    assert Unfinished(tmp_path, OF_RUN, "f", "cpu").read() == {"limits": result}
    for other in (("g", "cpu"), ("f", "cuda")):
        assert Unfinished(tmp_path, OF_RUN, *other).read() == {}
    assert Unfinished(tmp_path, OF_RUN, "f", "cpu", seed=1).read() == {}
    place = tmp_path / OF_RUN / of_weights(tmp_path, "f", "cpu").name
    place.write_text(place.read_text()[:50])
    assert Unfinished(tmp_path, OF_RUN, "f", "cpu").read() == {}
    Unfinished(tmp_path, OF_RUN, "", "cpu").write([result])
    assert len(list((tmp_path / OF_RUN).glob("*"))) == 1


@pytest.mark.slow
def test_a_run_whose_cells_are_all_there_proves_what_it_did_not_end(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    place = folder(tmp_path)
    command = ("run", "tiny.yaml", "--only", "uniform-bytes", "--out", "out")
    assert llmbench(*command, cwd=place).returncode == 0
    (proof,) = (place / "out" / "certificates").glob("*.json")
    proof.unlink()
    for file in (tmp_path / "cache" / "certificates").glob("*.json"):
        file.unlink()
    done = llmbench(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "done before" in done.stderr
    (model,) = run_json(place / "out")["models"]
    assert model["certificate"]["levels"]["A1"]["state"] == "earned"


def test_a_cache_that_is_no_folder_costs_only_what_it_would_keep(tmp_path):
    (tmp_path / "file").write_text("")
    kept = Unfinished(tmp_path / "file", OF_RUN, "f" * 64, "cpu")
    assert kept.path is not None
    kept.write([])
    assert kept.read() == {}
    kept.end([])


def test_without_a_cache_a_run_keeps_its_certificate_and_says_that_it_wrote_it(tmp_path):
    (tmp_path / "file").write_text("")
    adapter, told = zoo.Windowed(), []
    options = {"cache": str(tmp_path / "file")}
    job = {"out": str(tmp_path / "out"), "options": options, "certificates": []}
    worker.certify(adapter, adapter.info, job, told.append, lambda *_: None)
    (event,) = told
    place = of_run(tmp_path / "out", adapter.info.name)
    assert event["digest"] == storage.digest_file(place)
    assert event["cached"] == ""
