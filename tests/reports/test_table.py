from rich.console import Console

from vismem.reports import table


def test_a_row_a_measure_and_a_column_a_split():
    console = Console(record=True, width=80)
    metrics = {"test/exact_claim": 0.96875, "val/loss": 0.5, "test/rsim": 0.75}
    table.show(metrics, console=console)
    lines = console.export_text().replace("┃", "│").splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    assert rows == [
        ["", "test", "val"],
        ["exact_claim", "0.9688", ""],
        ["loss", "", "0.5000"],
        ["rsim", "0.7500", ""],
    ]


def test_of_many_splits_a_row_a_number():
    console = Console(record=True, width=80)
    table.show({f"split {i}/accuracy": i / 10 for i in range(7)}, console=console)
    shown = console.export_text()
    assert all(f"split {i}/accuracy │ 0.{i}000" in shown for i in range(7))
