"""CSV tables as pages for the report, which shows HTML but only hands out CSV."""

from pathlib import Path

from globals_heads.files import write_text
from globals_heads.tables import read_facts

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
  body {{ font: 14px system-ui, sans-serif; margin: 0 }}
  table {{ border-collapse: separate; border-spacing: 0 }}
  th, td {{ padding: 4px 10px; border-bottom: 1px solid #ddd; text-align: right }}
  th {{ position: sticky; top: 0; background: #f3f4f6; overflow-wrap: anywhere; min-width: 8em }}
  td {{ white-space: nowrap }}
  tr:hover td {{ background: #f3f4f6 }}
</style>
{table}
</html>
"""


def write_page(table: Path, output: Path) -> None:
    """Write a CSV table as one HTML page that needs no other file, numbers with four digits.

    Parameters
    ----------
    table
        The CSV file; empty cells stay empty.
    output
        The HTML file to make.
    """
    frame = read_facts(table)
    content = frame.to_html(index=False, border=0, na_rep="", float_format=_four_digits)
    write_text(output, PAGE.format(title=table.stem, table=content))


def _four_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
