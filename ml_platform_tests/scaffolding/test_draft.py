from collections.abc import Sequence
from pathlib import Path

import pytest

from ml_platform.errors import DataError
from ml_platform.scaffolding.draft import Draft, draft_pipeline
from ml_platform.scaffolding.profile import profile_table


def drafted(folder: Path, columns: dict[str, Sequence[object]], target: str, time: str | None = None) -> Draft:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join("" if value is None else str(value) for value in row) for row in rows)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return draft_pipeline("idea", profile_table(folder / "rows.csv"), target, time)


MANY = range(40)
DAYS = [f"2025-{1 + month:02}-{1 + day:02}" for month in range(10) for day in range(0, 28, 7)]


@pytest.mark.parametrize(
    ("target", "task", "label"),
    [
        ([True, False] * 20, "binary", None),
        ([1, 0] * 20, "binary", None),
        (["Yes", "no"] * 20, "binary", "lower(\"y\") = 'yes'"),
        (["N", "Y", "y", None] * 10, "binary", "lower(\"y\") = 'y'"),
        ([1, 0, None, 1] * 10, "binary", '"y" = 1'),
        (["red", "green"] * 20, "multiclass", None),
        ([1, 2, 3, 4] * 10, "multiclass", None),
        ([1, 2, None, 4] * 10, "multiclass", 'CAST("y" AS BIGINT)'),
        ([*MANY], "regression", None),
        ([0.5, 1.5] * 20, "regression", None),
    ],
)
def test_the_targets_values_tell_the_task(
    tmp_path: Path, target: Sequence[object], task: str, label: str | None
) -> None:
    draft = drafted(tmp_path, {"x": [v / 7 for v in MANY], "y": target}, "y")
    assert (draft.task, draft.label) == (task, label)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ([1] * 40, r"'y' has one value in all rows \(1\)"),
        ([None] * 39 + [1], r"'y' has one value in all rows"),
        ([f"note {v}" for v in MANY], r"'y' is string with 40 different values; expected a number, a boolean, or text"),
    ],
)
def test_what_cannot_be_learnt_is_refused(tmp_path: Path, target: Sequence[object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        drafted(tmp_path, {"x": [v / 7 for v in MANY], "y": target}, "y")


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    for target, time in (("z", None), ("y", "z")):
        with pytest.raises(DataError, match=r"has no column 'z'.*Expected one of: x, y"):
            drafted(tmp_path, {"x": [v / 7 for v in MANY], "y": [1, 0] * 20}, target, time)


def test_what_identifies_a_row_is_no_feature(tmp_path: Path) -> None:
    y = {"y": [1, 0] * 20}
    assert drafted(tmp_path, {"x": [v / 7 for v in MANY], "no": MANY, **y}, "y").key == ("no",)
    by_time = drafted(tmp_path, {"at": DAYS, "x": [v / 7 for v in MANY], "n": MANY, **y}, "y", "at")
    assert (by_time.key, by_time.numbers, list(by_time.left_out)) == (("n",), ("x",), [])
    twice = {"at": [day for day in DAYS[::2] for _ in "ab"], "shop": ["a", "b"] * 20, **y}
    assert drafted(tmp_path, twice, "y", "at").key == ("at", "shop")
    assert drafted(tmp_path, {"x": [v // 2 / 7 for v in MANY], **y}, "y").key == ("row",)
    assert drafted(tmp_path, {"row": [v // 2 / 7 for v in MANY], **y}, "y").key == ("row_number",)
    ids = {"n": MANY, "order_id": [v * 3 for v in MANY], "x": [v / 7 for v in MANY], **y}
    assert drafted(tmp_path, ids, "y").key == ("order_id",)
    alike = {"at": ["2025-01-01T00:00:00Z", "2025-01-01T01:00:00+01:00"] * 20, "x": [v / 7 for v in MANY], **y}
    assert drafted(tmp_path, alike, "y").key == ("row",)  # one moment, written in two ways


def test_a_rare_class_gets_more_rows_to_validate_and_test_on(tmp_path: Path) -> None:
    draft = drafted(tmp_path, {"x": [v / 7 for v in MANY], "y": [1, *[0] * 39]}, "y")
    assert (draft.rarest, draft.shares) == (("1", 1), {"validation": 0.2, "test": 0.2})
    words = drafted(tmp_path, {"x": [v / 7 for v in MANY], "y": ["Yes", "yes", *["no"] * 38]}, "y")
    assert words.rarest == ("yes", 2)  # one class, in two spellings


def test_each_column_has_a_use_or_a_reason_to_be_left_out(tmp_path: Path) -> None:
    draft = drafted(
        tmp_path,
        {
            "key": MANY, "other_key": range(40, 80), "number": [v / 7 for v in MANY], "word": ["a", "b"] * 20,
            "text": [f"text {v}" for v in range(40)] , "same": [1] * 40, "empty": [None] * 40, "at": DAYS, "y": [1, 0] * 20,
        },
        "y",
    )  # fmt: skip
    assert (draft.numbers, draft.categories) == (("number",), ("word", "text"))
    assert draft.left_out == {
        "other_key": "has another value in each row, as identifiers have",
        "same": "has one value in all rows",
        "empty": "is empty",
        "at": "is a time; Calendar makes numbers of one",
    }


def test_the_longest_spans_of_which_there_are_enough_are_the_partitions(tmp_path: Path) -> None:
    columns = {"x": [v / 7 for v in MANY], "y": [1, 0] * 20}
    months = drafted(tmp_path, {"at": DAYS, **columns}, "y", "at")
    assert months.partitions is not None
    assert (months.partitions.every, len(months.partitions.keys)) == ("month", 10)
    assert months.spans == {"validation": "1 month", "test": "2 months"}
    assert months.parts_of_time == ["day_of_week"]
    days = [f"2025-01-{1 + v // 4:02} {v % 4:02}:30:00" for v in MANY]
    short = drafted(tmp_path, {"at": days, **columns}, "y", "at")
    assert short.partitions is not None
    assert (short.partitions.every, short.parts_of_time) == ("day", ["hour_of_day", "day_of_week"])


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (["2025-01-01"] * 20 + ["2025-01-02"] * 20, "goes from 2025-01-01 to 2025-01-02; a split by time needs 6 days"),
        (["2025-01-01"] * 39 + ["2025-12-01"], "no rows of 'at' in the month of 2025-02-01, .* leave --time out"),
        ([*DAYS[:39], None], "1 of 40 rows have no 'at'"),
        (["soon"] * 40, "'at' is string, found 'soon'; expected times such as 2013-01-31"),
        ([*DAYS[:39], "9999-12-31"], "'at' goes to 9999-12-31; expected no year after 2200"),
    ],
)
def test_times_that_no_split_can_be_made_of_are_refused(tmp_path: Path, times: Sequence[object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        drafted(tmp_path, {"at": times, "x": [v / 7 for v in MANY], "y": [1, 0] * 20}, "y", "at")
