"""Is the hub there: switches, sockets, proxies, and an answer that is asked for once."""

from __future__ import annotations

import socket
import time

import pytest
from support.fake_hub import elsewhere, serve

from llmbench.data import hub


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    with elsewhere(tmp_path, monkeypatch):
        yield


@pytest.fixture
def online(monkeypatch):
    with serve("me/pages", {}) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield


@pytest.mark.parametrize("name", hub.SWITCHES)
def test_a_switch_in_the_environment_means_offline(monkeypatch, name):
    assert not hub.offline()
    for value, expected in (("1", True), ("true", True), ("ON", True), ("0", False), ("", False)):
        monkeypatch.setenv(name, value)
        assert hub.offline() is expected


def test_a_hub_is_reachable_where_it_takes_a_connection(monkeypatch, online):
    assert hub.reachable()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.reachable()


def test_the_question_is_asked_once(monkeypatch, online):
    assert hub.reachable()
    monkeypatch.setattr(
        socket, "create_connection", lambda *given, **named: pytest.fail("asked again")
    )
    assert hub.reachable()


def test_a_port_where_nobody_listens_is_not_reachable():
    assert not hub.reachable()


def test_a_resolver_that_hangs_holds_nobody_up(monkeypatch):
    hold = hub.threading.Event()

    def hang(*given, **named):
        hold.wait(30)
        raise OSError("no such name")

    monkeypatch.setattr(socket, "create_connection", hang)
    begun = time.monotonic()
    assert not hub.reachable(0.2)
    assert time.monotonic() - begun < 2
    hold.set()


def test_a_proxy_is_the_first_hop_unless_it_is_not_for_this_host(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    assert hub._first_hop() == ("hub.example", 443)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert hub._first_hop() == ("proxy.example", 3128)
    monkeypatch.setenv("https_proxy", "proxy.example:3129")
    assert hub._first_hop() == ("proxy.example", 3129)
    monkeypatch.setenv("no_proxy", "hub.example")
    assert hub._first_hop() == ("hub.example", 443)
