"""`python -m graphcnn` is the command line."""

from graphcnn.cli import main

main(prog_name="graphcnn")
