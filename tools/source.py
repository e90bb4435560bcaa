"""A notebook's cells as plain text: what `git diff` compares once `make hooks` has run."""
import sys

import nbformat


def text(
    path: str,  # of a notebook
) -> str:
    "Sources of all cells; outputs are left out, they follow from these."
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(f"%% {cell.cell_type} {cell.get('id', '')}\n{cell.source}\n" for cell in cells)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(text(sys.argv[1]))
