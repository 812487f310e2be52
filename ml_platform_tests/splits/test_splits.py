from datetime import date

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.pipeline.spec import PipelineSpec
from ml_platform.sources import Partitions
from ml_platform.splits import Split
from ml_platform.splits.base import resolve_split
from ml_platform.splits.random import RandomSplit, SplitByHash

MONTHS = Partitions("month", date(2013, 1, 1), date(2014, 1, 1))


def spec(**split: object) -> PipelineSpec:
    step = {"stage": "features", "inputs": ["t"], "uses": "a.B"}
    return PipelineSpec.model_validate(
        {
            "pipeline": "p",
            "description": "",
            "sources": {"t": "a.T"},
            "steps": {"s": step},
            "features": {"from": "s", "columns": ["x"]},
            "target": "y",
            "models": {"m": {"uses": "a.M"}},
            "split": split or {"as_of": "latest", "validation": "1 month", "test": "3 months"},
        }
    )


def resolved(
    spec: PipelineSpec, key: list[str], spans: Partitions | None, newest: str | None, as_of: str = "latest"
) -> Split:
    return resolve_split("p", spec.split, key, spans, newest, as_of)


def test_the_newest_months_test_and_the_one_before_validates() -> None:
    split = resolved(spec(), ["k"], MONTHS, "2013-12-01")
    assert split.partitions(["train"]) == MONTHS.keys[:8]
    assert split.partitions(["validation"]) == ["2013-09-01"]
    assert split.partitions(["test"]) == MONTHS.keys[9:]
    assert split.facts() == {"as_of": "2014-01-01", "validation_from": "2013-09-01", "test_from": "2013-10-01"}


def test_latest_follows_the_data() -> None:
    split = resolved(spec(), ["k"], MONTHS, "2013-10-01")
    assert split.partitions(["test"]) == ["2013-08-01", "2013-09-01", "2013-10-01"]


def test_a_run_may_set_its_own_cut() -> None:
    split = resolved(spec(), ["k"], MONTHS, "2013-12-01", as_of="2013-07-01")
    assert split.partitions(["train", "validation"]) == ["2013-01-01", "2013-02-01", "2013-03-01"]
    assert split.facts()["as_of"] == "2013-07-01"


@pytest.mark.parametrize("as_of", ["2013-05-01", "2012-01-01"])
def test_too_little_data_is_refused_with_what_is_missing(as_of: str) -> None:
    with pytest.raises(DataError, match=f"as of {as_of} no month is left for train .*the data begin 2013-01-01"):
        resolved(spec(), ["k"], MONTHS, "2013-12-01", as_of=as_of)


@pytest.mark.parametrize(
    ("as_of", "nearest"),
    [
        ("2013-12-31", "2014-01-01"),
        ("2013-12-15", "2013-12-01"),
        ("2014-02-01", "2014-01-01"),
        ("2015-06-01", "2014-01-01"),
    ],
)
def test_a_cut_inside_a_month_or_after_the_data_is_refused_with_the_nearest_bound(as_of: str, nearest: str) -> None:
    with pytest.raises(DataError, match=rf"as_of is {as_of}, .*the nearest bound is {nearest}"):
        resolved(spec(), ["k"], MONTHS, "2013-12-01", as_of=as_of)


def test_a_random_split_has_no_as_of() -> None:
    with pytest.raises(DataError, match="as_of '2013-10-01' has no meaning for a split that is random"):
        resolved(spec(method="random", validation=0.1, test=0.2, seed=1), ["k"], None, None, as_of="2013-10-01")


def test_no_data_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no partition is there in every source; materialize the sources first"):
        resolved(spec(), ["k"], MONTHS, None)


class TestRandomSplit:
    SPLIT = SplitByHash(["k"], RandomSplit(method="random", validation=0.1, test=0.25, seed=222))
    FRAME = pd.DataFrame({"k": np.arange(20_000)})

    def test_every_row_has_one_role_and_the_shares_are_kept(self) -> None:
        masks = {role: self.SPLIT.mask(self.FRAME, [role]) for role in ("train", "validation", "test")}
        assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
        shares = {role: round(float(mask.mean()), 2) for role, mask in masks.items()}
        assert shares == {"train": 0.65, "validation": 0.1, "test": 0.25}

    def test_a_rows_role_does_not_depend_on_the_other_rows(self) -> None:
        some = self.FRAME.sample(500, random_state=1)
        whole = self.SPLIT.mask(self.FRAME, ["test"])
        np.testing.assert_array_equal(self.SPLIT.mask(some, ["test"]), whole[some.index])

    def test_another_seed_gives_other_rows(self) -> None:
        other = SplitByHash(["k"], RandomSplit(method="random", validation=0.1, test=0.25, seed=223))
        assert 0.55 < (other.mask(self.FRAME, ["test"]) == self.SPLIT.mask(self.FRAME, ["test"])).mean() < 0.7

    def test_a_random_split_that_leaves_nothing_to_train_on_is_refused(self) -> None:
        with pytest.raises(ValueError, match="leave no rows to train on"):
            spec(method="random", validation=0.5, test=0.5, seed=1)


def test_an_ordered_split_goes_by_a_number_in_the_key() -> None:
    declared = spec(method="ordered", column="image", validation_from=2, test_from=4)
    split, frame = resolved(declared, ["image"], None, None), pd.DataFrame({"image": [5, 0, 3, 4, 1, 2]})
    roles = {role: frame["image"][split.mask(frame, [role])].tolist() for role in ("train", "validation", "test")}
    assert roles == {"train": [0, 1], "validation": [3, 2], "test": [5, 4]}
    assert frame["image"][split.mask(frame, ["train", "test"])].tolist() == [5, 0, 4, 1]
    assert split.facts() == {"method": "ordered", "column": "image", "validation_from": 2, "test_from": 4}
    with pytest.raises(DataError, match="no meaning for a split that is ordered"):
        resolved(declared, ["image"], None, None, as_of="2013-07-01")
    with pytest.raises(ValueError, match="expected validation_from below test_from"):
        spec(method="ordered", column="image", validation_from=4, test_from=4)
