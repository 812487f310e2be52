"""Writes docs/steps.md: every step and model, with its parameters and an example."""

from pathlib import Path

from ml_platform.cli.steps import as_markdown

PAGE = Path(__file__).parent / "steps.md"

if __name__ == "__main__":
    PAGE.write_text(as_markdown())
    print(f"wrote {PAGE.relative_to(Path.cwd())}")
