"""Scripts behind the make targets; run from the top of the checkout as `python -m tools.NAME`."""
