from __future__ import annotations

import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chronostream.cli import main
from chronostream.ring import Producer
from tests.process_harness import Programs
from tests.ring.harness import NOBODY, TIMEOUT_S, needs_root, path_of

BLIND = """
import sys
from chronostream.cli import main
from chronostream.observe import metrics
def survey(*_, **__):
    raise AssertionError
metrics.survey = survey
sys.exit(main(["metrics", "--port", "0"]))
"""


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
        return text


def test_it_answers_over_http_with_the_streams_of_that_moment(programs: Programs, name: str) -> None:
    program = programs.chronostream("metrics", "--port", "0")
    ready = re.fullmatch(r"\S+Z INFO ready: (http://127\.0\.0\.1:\d+/metrics)", program.err.line())
    assert ready
    assert name not in fetch(ready[1])
    producer = programs.run(name, "--frequency", "second", "--frequency", "hour")
    tail = programs.chronostream("tail", name, "--from", "oldest")
    tail.out.line()
    tail.out.line()  # The first one is counted by now: events are published first, and saved afterwards.
    found = {family.name: family for family in text_string_to_metric_families(fetch(ready[1]))}
    events = [sample for sample in found["chronostream_events"].samples if sample.labels["stream"] == name]
    assert {sample.labels["frequency"] for sample in events} == {"second", "hour"}
    assert sum(sample.value for sample in events) >= 1
    [reader] = [s for s in found["chronostream_consumer_lag_records"].samples if s.labels["stream"] == name]
    assert (reader.labels["consumer"], reader.labels["slot"]) == ("chronostream tail", "0")
    producer.stop(signal.SIGKILL)
    assert f'chronostream_state{{state="dead",stream="{name}"}} 1.0' in fetch(ready[1])
    assert program.stop()[0] == 0
    assert program.err.rest().endswith(" INFO stopped\n")


@needs_root
@pytest.mark.parametrize(("options", "state"), [((), "denied"), (("--any-owner",), "live")])
def test_a_stream_of_another_user_is_read_only_if_told_so(
    programs: Programs, name: str, options: tuple[str, ...], state: str
) -> None:
    with Producer.create(name, "<i8", 8):
        os.chown(path_of(name), NOBODY, NOBODY)
        program = programs.chronostream("metrics", "--port", "0", *options)
        url = program.err.line().rpartition(" ")[2]
        assert f'chronostream_state{{state="{state}",stream="{name}"}} 1.0' in fetch(url)


def test_a_sign_of_life_looks_at_no_stream_and_nothing_else_is_there(programs: Programs) -> None:
    program = programs.python("-c", BLIND)
    url = program.err.line().rpartition(" ")[2].removesuffix("/metrics")
    assert fetch(f"{url}/healthz") == "ok\n"
    for path in ("/", "/healthz/", "/metrics/", "/favicon.ico", "/streams"):
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            fetch(url + path)
        assert refused.value.read() == b"there are /metrics and /healthz\n"
        refused.value.close()
    assert program.stop()[0] == 0


def test_a_client_that_says_nothing_holds_nobody_up(programs: Programs) -> None:
    program = programs.chronostream("metrics", "--port", "0", "--address", "::1")
    ready = re.fullmatch(r"\S+Z INFO ready: (http://\[::1\]:(\d+))/metrics", program.err.line())
    assert ready
    with socket.create_connection(("::1", int(ready[2]))):
        assert fetch(f"{ready[1]}/healthz") == "ok\n"
        assert program.stop()[0] == 0


def test_an_address_that_is_none_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--address", "300.1.1.1"]) == 2
    assert capfd.readouterr().err.startswith("chronostream: there is no address '300.1.1.1' to answer on: ")


def test_a_port_that_is_taken_is_one_clear_line_and_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["metrics", "--port", str(port)]) == 1
    assert capfd.readouterr().err == (
        f"chronostream: cannot answer on 127.0.0.1, port {port}: Address already in use\n"
    )


def test_without_its_package_it_says_what_to_install(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["metrics"]) == 1
    assert "pip install 'chronostream[metrics]'" in capfd.readouterr().err
