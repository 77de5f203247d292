"""One small program for each tool, used as its manual has it: `python -m bench.bulk.contestants.NAME_ FOLDER`."""
