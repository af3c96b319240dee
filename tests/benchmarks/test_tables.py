"""Tables of the documentation that are made from records."""

from __future__ import annotations

import pytest

from benchmarks.tables import REPOSITORY, TABLES, Table, with_table


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_page_shows_its_records(table: Table) -> None:
    text = (REPOSITORY / table.page).read_text()
    assert with_table(text, table) == text, "run: python -m benchmarks.tables"


def test_a_table_is_replaced_and_the_text_around_it_stays() -> None:
    table = Table("page.md", "speed", lambda: ["| a |", "| --- |", "| 2 |"])
    text = "Above.\n\n<!-- table speed -->\n\n| a |\n| --- |\n| 1 |\n\n<!-- end -->\n\nBelow.\n"
    written = with_table(text, table)
    assert written == text.replace("| 1 |", "| 2 |")
    assert with_table(written, table) == written
    for broken in ("", text.replace("<!-- end -->", ""), text + text):
        with pytest.raises(ValueError, match="needs one line <!-- table speed -->"):
            with_table(broken, table)
