"""YAML is read with the line of everything; what cannot be read is refused at its line."""

from pathlib import Path

import pytest

from ml_platform.errors import SpecError
from ml_platform.pipeline.document import load_document


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", r":2: not UTF-8: .*; save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), r":1: not UTF-8"),
        (b"a: 1\nb: &b\n  - x\n  - *b\n", r":2: an alias that contains itself"),
        (b"a: &a {x: 1}\nb:\n  <<: *a\n", r":3: YAML's merge key '<<' is not read"),
        (b"- a\n", r":1: expected a mapping of keys and values"),
        (b"a: 1\na: 2\n", r":2: key 'a' stands twice; first on line 1"),
        (b"a: [\n", r":\d: not YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=rf"pipeline\.yaml{message}"):
        load_document(path)


def test_a_byte_order_mark_an_alias_and_a_word_that_yaml_1_1_took_for_a_boolean(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_bytes("\ufeffa: &a [1, x_0..2]\nb: *a\non: no\nc: true\n".encode())
    document = load_document(path)
    assert document.data == {"a": [1, "x_0", "x_1", "x_2"], "b": [1, "x_0", "x_1", "x_2"], "on": "no", "c": True}
    assert document.spots[("b",)][1] == 2
