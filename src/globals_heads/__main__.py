"""`python -m globals_heads`."""

from globals_heads.cli import main

main()
