"""A stranger's text on a terminal: nothing acts, nothing hides, and what can be seen stays."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.cli import app
from edge_vss.cli.terminal import explain, say, table
from edge_vss.errors import BundleError
from edge_vss.text import printable
from tests.helpers.cli import CliRunner
from tests.test_bundle import street as street  # a fixture

HOSTILE = "\x1b[2J\x07a\nb\r\u202ec\u200b\u2066\ufeff\U000e0041\ufe0f\u115f\ud800\x9b\u2028"


@pytest.mark.parametrize(
    "text", ["road", "Straße", "道路", "дорога", "é→×·", "a  b", "C:\\roads", "[bold]x[/]"]
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("character", sorted(set(HOSTILE) - set("[2Jabc")))
def test_what_acts_or_hides_is_escaped(character: str) -> None:
    assert printable(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_one_line_that_any_terminal_can_be_sent(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and len(f"{shown}.".splitlines()) == 1
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown
    shown.encode()


def test_errors_lines_and_tables_show_it_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    escaped = printable(HOSTILE)
    assert str(BundleError(f"the role {HOSTILE}")) == f"the role {escaped}"
    assert explain(BundleError(f"the role {HOSTILE}")) == f"the role {escaped}"
    assert escaped in explain(OSError(2, "No such file", HOSTILE))
    assert explain(RuntimeError(f"{HOSTILE}")).isprintable()
    say(HOSTILE)
    table(("role", HOSTILE), [("key", HOSTILE), ("[red]", 1)])
    said = capsys.readouterr().err
    assert said.count(escaped) == 3 and "[red]" in said
    assert all(line.isprintable() for line in said.splitlines())


def test_a_bundle_with_names_that_would_act_on_a_terminal_is_shown(street: Path) -> None:
    text = (street / "manifest.json").read_text()
    hostile = HOSTILE.replace("\ud800", "")
    for name in ("key_labels", "propagate", "nonkey"):
        text = text.replace(f'"{name}"', json.dumps(f"{name}{hostile}"))
    (street / "manifest.json").write_text(text)
    done = CliRunner().invoke(app, ["inspect", str(street), "--json", "-"])
    assert done.exit_code == 0, done.output
    for name in ("key_labels", "propagate", "nonkey"):
        assert name + printable(hostile) in done.stderr
    assert all(line.isprintable() for line in (done.stderr + done.stdout).splitlines())
    assert json.loads(done.stdout)["family"] == f"propagate{hostile}"
