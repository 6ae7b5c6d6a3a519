"""The pages about trackers run as they are written."""

from __future__ import annotations

import io
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from negawatt.ledger import open_ledger

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def blocks(page: str) -> list[str]:
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(code: str, namespace: dict[str, Any]) -> None:
    exec(compile(code, "how-to", "exec"), namespace)  # noqa: S102  # the pages are ours


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return {"__name__": "how_to"}


@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # no accelerator to pin memory for
def test_a_training_run_with_the_trainer(
    namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("accelerate", reason="pip install 'negawatt[huggingface]'")
    train, lead, evaluate, _, ranks = blocks("track-training.md")
    run(train, namespace)
    history = namespace["trainer"].state.log_history
    for name, times in (("step", 4), ("epoch", 2), ("eval", 2), ("train", 1)):
        entries = [entry for entry in history if f"{name}_energy_J" in entry]
        assert len(entries) == times, name
        for entry in entries:
            low, high = entry[f"{name}_energy_low_J"], entry[f"{name}_energy_high_J"]
            assert 0 < low <= entry[f"{name}_energy_J"] <= high
    run(lead, namespace)
    run(evaluate, namespace)
    assert "train_energy_J" in capsys.readouterr().out
    assert namespace["m"].energy.value > 0
    run(ranks, namespace)
    namespace["trainer"].add_callback(namespace["energy"])
    namespace["trainer"].train()
    with open_ledger(Path("runs.db"), readonly=True) as ledger:
        names = [entry.body["name"] for entry in ledger.entries("measure")]
    assert {name: names.count(name) for name in ("epoch", "eval", "train")} == {
        "epoch": 2, "eval": 2, "train": 1,
    }  # fmt: skip


def test_a_loop_of_ones_own_with_tensorboard(namespace: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'negawatt[tensorboard]'")
    run(blocks("track-training.md")[3], namespace)
    from tensorboard.backend.event_processing import event_accumulator as reader

    sizes = {reader.TENSORS: 0}
    events = reader.EventAccumulator(str(tmp_path / "runs" / "line"), size_guidance=sizes)
    events.Reload()
    assert [point.step for point in events.Tensors("negawatt/epoch/energy_J")] == [0, 1, 2]


def test_a_server_shows_its_energy(namespace: dict[str, Any]) -> None:
    pytest.importorskip("prometheus_client", reason="pip install 'negawatt[prometheus]'")
    serve = blocks("measure-a-server.md")[0]
    run(serve.replace("port=9464", "port=0").replace("8000", "0"), namespace)
    server, tracker = namespace["server"], namespace["prometheus"]
    server.RequestHandlerClass.log_message = lambda *words: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        ask = f"http://127.0.0.1:{server.server_port}/what"
        for _ in range(3):
            with urllib.request.urlopen(ask, timeout=10) as reply:
                assert reply.status == 200
        with urllib.request.urlopen(
            f"http://127.0.0.1:{tracker.port}/metrics", timeout=10
        ) as reply:
            text = reply.read().decode()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        tracker.close()
        namespace["whole"].stop()
    found = re.search(
        r'^negawatt_energy_joules_total\{.*window="server".*\} (\S+)$', text, re.MULTILINE
    )
    assert found is not None
    assert float(found[1]) > 0
    assert 'negawatt_windows_total{window="request"} 3.0' in text


def test_a_request_is_sent_to_opentelemetry(namespace: dict[str, Any]) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="pip install 'negawatt[opentelemetry]'")
    import negawatt

    printed = io.StringIO()
    namespace |= {"negawatt": negawatt, "answer": str.upper, "printed": printed}
    code = blocks("measure-a-server.md")[1]
    # by default it prints to what was standard output when it was first imported
    run(code.replace("ConsoleMetricExporter()", "ConsoleMetricExporter(out=printed)"), namespace)
    assert '"negawatt.energy"' in printed.getvalue()
