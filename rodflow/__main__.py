"""``python -m rodflow``: in a child of the workflow's fork server if there is one, else in this process."""

from rodflow.jobs.forkserver import PROGRAM, run_in_server

run_in_server()

from rodflow.cli import main  # noqa: E402  takes longer than all the rest of a command that the server runs

main(PROGRAM)
