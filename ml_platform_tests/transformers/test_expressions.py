import pytest

from ml_platform.errors import DataError
from ml_platform.transformers.expressions import columns_read


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("delay > 15 -- minutes", ("delay",)),
        ('count(*) FILTER ("day of" = 1 AND b IN (c, 2))', ("day of", "b", "c")),
        ("CASE WHEN a THEN b ELSE a END", ("a", "b")),
        ("1 = 1", ()),
    ],
)
def test_columns_are_named_once_in_order(expression: str, columns: tuple[str, ...]) -> None:
    assert columns_read(expression, "where") == columns


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("a >", "expected a SQL expression, found 'a >' .*syntax error"),
        ("", "expected a SQL expression, found ''"),
        ("a, b", "expected one SQL expression, found 'a, b'"),
        ("a) FROM other WHERE (b", "expected a SQL expression"),
        ("a AS b", "expected one SQL expression"),
        ("a FROM other", "expected one SQL expression"),
        ("a) UNION (SELECT 1", "expected a SQL expression"),
        ("1; SELECT 2", "several statements"),
        ("a IN (SELECT b FROM other)", "has a SELECT of its own; write a step of SQL"),
        ("EXISTS (SELECT 1)", "has a SELECT of its own"),
        ("COLUMNS(*) > 1", r"has a \* of columns"),
        ("a > $1", "has a parameter"),
    ],
)
def test_more_than_one_expression_over_the_given_rows_is_refused(expression: str, why: str) -> None:
    with pytest.raises(DataError, match=f"where: .*({why})"):
        columns_read(expression, "where")
