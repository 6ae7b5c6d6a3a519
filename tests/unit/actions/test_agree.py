"""Does a variant decide as its base: as a whole, going on after a stop, and what is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from small_encoder import manual, small_encoder

import negawatt
from negawatt.actions.agree import work as tasks
from negawatt.cli import root
from negawatt.compress.export_huggingface import export
from negawatt.compress.quantised import Recipe, plan_of
from negawatt.compress.rounded import Rounded
from negawatt.core.codec import decode, encode
from negawatt.core.errors import TextError, UsageError
from negawatt.core.records import Format
from negawatt.models import attribution
from negawatt.models.agreement import Agreed
from negawatt.models.source import prepare
from negawatt.reports.agreed import page, sentences, show

FEW: dict[str, Any] = {"tokens": 320, "decisions": 8, "context": 6}


def rounded(model: Path, place: Path, fmt: str) -> Path:
    """The model with every linear layer rounded to nearest, as `quantise` writes it."""
    source = prepare(str(model), place / "work")
    plan = plan_of(Recipe(Format.parse(fmt), "rtn"), source.layers)
    weights = Rounded(source.folder, source.layers, plan)
    return export(source.folder, weights, place / "huggingface", card={}).parent


@pytest.fixture(scope="module")
def texts(story: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    other = manual(tmp_path_factory.mktemp("texts") / "manual.txt")
    return {"stories": str(story.text), "manual": str(other)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agree")


@pytest.fixture(scope="module")
def found(story: Any, texts: dict[str, str], place: Path) -> dict[str, Agreed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "_STEPS", (8,))  # random weights would need many
        return {
            fmt: negawatt.agree(
                str(story.model),
                str(rounded(story.model, place / fmt, fmt)),
                slices=texts,
                out=place / "out",
                html=place / f"{fmt}.html",
                **FEW,
            )
            for fmt in ("int8-row-sym", "int2-g32-sym")
        }


def test_few_bits_move_what_decisions_rest_on(found: dict[str, Agreed]) -> None:
    fine, coarse = found["int8-row-sym"], found["int2-g32-sym"]
    for one, other in zip(fine.agreements, coarse.agreements, strict=True):
        assert one.method == other.method
        assert one.variant.rank.value > 0.9 > other.variant.rank.value
        assert other.lost.high < 0
        assert one.yardstick == other.yardstick  # the same base, looked at once
        assert abs(one.shuffled.rank.value) < 0.6
        assert set(one.slices) == {"stories", "manual"}
    assert fine.decisions == 8


def test_every_slice_is_scored_beside_the_base(found: dict[str, Agreed]) -> None:
    for result in found.values():
        assert [one.name for one in result.slices] == ["stories", "manual"]
        for one in result.slices:
            assert one.tokens >= 300
            assert one.kl is not None
            assert one.kl.value > 0
            assert one.excess is not None
            assert one.excess.low <= one.excess.value <= one.excess.high
            assert one.p is not None
            assert 0 <= one.p <= 1
        total = sum(one.excess.value for one in result.slices if one.excess)
        assert total == pytest.approx(0.0, abs=1e-9)
    fine, coarse = (result.slices[0] for result in found.values())
    assert fine.kl is not None
    assert coarse.kl is not None
    assert fine.kl.high < coarse.kl.low
    assert fine.same.value > coarse.same.value


def test_a_record_of_it_can_be_read_back(found: dict[str, Agreed]) -> None:
    for result in found.values():
        assert decode(Agreed, json.loads(json.dumps(encode(result)))) == result


def test_a_second_run_goes_on_from_the_first(
    found: dict[str, Agreed],
    story: Any,
    texts: dict[str, str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("done before")

    for name in ("look", "score"):
        monkeypatch.setattr(tasks, name, never)
    runner = CliRunner()
    given = [str(story.model), str(place / "int8-row-sym" / "huggingface"), "--json"]
    for name, text in texts.items():
        given += ["--slice", f"{name}={text}"]
    for name, value in FEW.items():
        given += [f"--{name}", str(value)]
    given += ["--out", str(place / "out"), "--html", str(place / "again.html")]
    done = runner.invoke(root, ["agree", *given], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["slices"] == encode(found["int8-row-sym"].slices)
    assert "earlier run" in told["notes"][-1]
    assert (place / "again.html").is_file()


def test_people_read_what_it_comes_to(found: dict[str, Agreed]) -> None:
    result = found["int2-g32-sym"]
    told = " ".join(sentences(result))
    assert "less than what 16-bit arithmetic alone leaves" in told
    screen = io.StringIO()
    show(result, Console(file=screen, width=120))
    text = screen.getvalue()
    for words in ("integrated gradients", "one token left out", "stories", "manual", "p of KL"):
        assert words in text


def test_the_page_needs_nothing_but_itself(found: dict[str, Agreed], place: Path) -> None:
    result = found["int2-g32-sym"]
    text = (place / "int2-g32-sym.html").read_text(encoding="utf-8")
    assert text == page(result)
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert text.count('class="tokens"') == 2 * len(result.examples) > 0
    assert 'class="for8"' in text or 'class="against8"' in text
    ranks = [one.rank for one in result.examples]
    assert ranks == sorted(ranks)


def test_pairs_of_sentences_for_an_encoder(tmp_path: Path) -> None:
    base = small_encoder(tmp_path / "base")
    other = small_encoder(tmp_path / "other", num_hidden_layers=1)
    shutil.copyfile(base / "tokenizer.json", other / "tokenizer.json")
    text = {"manual": str(manual(tmp_path / "manual.txt"))}
    same = negawatt.agree(str(base), str(base), slices=text, out=tmp_path / "out", **FEW)
    apart = negawatt.agree(str(base), str(other), slices=text, out=tmp_path / "out", **FEW)
    assert same.measure == "1 - cosine"
    assert same.same_choice is None
    assert all(one.variant.rank.value == 1.0 for one in same.agreements)
    assert same.slices[0].loss.value == pytest.approx(0.0, abs=1e-6)
    assert all(one.variant.rank.value < 0.95 for one in apart.agreements)
    assert apart.slices[0].loss.value > 0
    assert apart.slices[0].p is None
    assert "one slice" in sentences(apart)[-1]
    page(apart)


def test_tokens_to_be_filled_in(tmp_path: Path) -> None:
    base = small_encoder(tmp_path / "base", "BertForMaskedLM")
    text = {"manual": str(manual(tmp_path / "manual.txt"))}
    found = negawatt.agree(str(base), str(base), slices=text, out=tmp_path / "out", **FEW)
    assert found.same_choice is not None
    assert found.same_choice.value == 1.0
    assert all("[MASK]" in map(str.strip, one.tokens) for one in found.examples)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"decisions": 2}, UsageError, "at least 8"),
        ({"slices": {"none": "/nowhere.txt"}}, TextError, "slice none"),
        ({"context": 5000}, TextError, "shorter context"),
    ],
)
def test_what_tells_nothing_is_refused(
    story: Any, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"slices": {"stories": str(story.text)}, **FEW, **changes}
    with pytest.raises(error, match=words):
        negawatt.agree(str(story.model), str(story.model), out=tmp_path, **given)


def test_other_tokens_are_refused(story: Any, tmp_path: Path) -> None:
    other = Path(shutil.copytree(story.model, tmp_path / "other"))
    told = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = told["model"]["vocab"]
    if isinstance(vocabulary, dict):
        first, second = list(vocabulary)[-2:]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    else:
        vocabulary[-1], vocabulary[-2] = vocabulary[-2], vocabulary[-1]
    (other / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(UsageError, match="other vocabularies"):
        negawatt.agree(
            str(story.model), str(other), slices={"s": str(story.text)}, out=tmp_path / "o", **FEW
        )


def test_an_encoder_is_no_variant_of_a_decoder(story: Any, tmp_path: Path) -> None:
    encoder = small_encoder(tmp_path / "encoder")
    with pytest.raises(UsageError, match="same question"):
        negawatt.agree(str(story.model), str(encoder), out=tmp_path / "out", **FEW)


@pytest.mark.parametrize("given", ["english", "=file", "a=b"])
def test_a_slice_has_a_name_of_its_own(given: str) -> None:
    done = CliRunner().invoke(root, ["agree", "x", "y", "--slice", "a=c", "--slice", given])
    assert done.exit_code == 2
    assert "NAME=FILE" in done.output
