"""Adoption in a few combinations. `make rehearsal` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adoption import comparison
from tests.adoption.comparison import adopt, compare
from tests.adoption.features import COMBINATIONS, TOGETHER, Combination
from tests.stand.postgres import Cluster
from tests.stand.stock import StockProxy

pytestmark = pytest.mark.long

SAMPLE = (Combination(TOGETHER, 1), Combination(("plain",), 2), Combination(("WITH_NAT",), 3))


@pytest.mark.parametrize("combination", SAMPLE, ids=str)
def test_phones_fare_as_before(
    combination: Combination, tmp_path: Path, postgres: Cluster, kamdbctl_template: str
) -> None:
    assert combination in COMBINATIONS
    result = compare(combination, directory=tmp_path, postgres=postgres, template=kamdbctl_template)
    assert result.holds, result


@pytest.mark.slow
def test_what_a_parameter_of_ours_would_change_is_seen(
    tmp_path: Path, postgres: Cluster, kamdbctl_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison can fail: in this test adoption forgets phones and sends calls elsewhere."""

    def adopt_and_harm(proxy: StockProxy, url: str, combination: Combination) -> None:
        adopt(proxy, url, combination)
        with proxy.configuration.open("a", encoding="utf-8") as configuration:
            configuration.write('modparam("usrloc", "db_clean_tcp", 1)\nmodparam("registrar", "use_path", 0)\n')

    monkeypatch.setattr(comparison, "adopt", adopt_and_harm)
    result = compare(Combination(("plain",), 1), directory=tmp_path, postgres=postgres, template=kamdbctl_template)
    assert {
        "tcp, closed/is called after the restart/heard",
        "edge/is called when refreshed/heard",
        "rows of edge/refreshes, at once",
    } <= {each.key for each in result.differences}
