"""The cases that all languages run: see tests/cases/README.md of the repository."""
