"""The pages of this folder tell people to do what can be done."""

import re

import pytest

from files import DEPLOY, LANYARD, commands_of, run

PAGES = ["README.md", "alerts.md", "observability.md", "kubernetes.md", "container.md"]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_are_those_of_the_program(page: str) -> None:
    for command in commands_of(page):
        words = []
        for word in command[1:]:
            if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
                break
            words.append(word)
        told = run(LANYARD, *words, "--help")
        for option in [word for word in command if word.startswith("--")]:
            assert re.search(rf"{option}\b", told), f"{' '.join(command)}: there is no {option}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (DEPLOY / page).read_text()):
        assert (DEPLOY / target).exists(), target
