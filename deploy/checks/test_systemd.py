"""systemd takes the unit, and finds it hardened."""

from pathlib import Path

import pytest

from files import DEPLOY, LANYARD, run

INSTALLED = "/usr/local/bin/lanyard"
# Tenths: 1.4 of 10 is what it is.
EXPOSURE = 15


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with the program that there is here."""
    text = (DEPLOY / "lanyard.service").read_text()
    assert INSTALLED in text
    copy = tmp_path / "lanyard.service"
    copy.write_text(text.replace(INSTALLED, str(Path(LANYARD).resolve())))
    return copy


def test_systemd_understands_every_line_of_the_unit(unit: Path) -> None:
    run("systemd-analyze", "verify", unit)


def test_the_unit_is_as_little_exposed_as_it_was(unit: Path) -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", unit)
