"""`python -m study`."""

from study.cli import app, main

main(app)
