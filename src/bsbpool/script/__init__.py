"""The globals of a script that runs on one rank, for the calls that its workers run.

Under ``python -m bsbpool.run``, and with spawned workers, only rank 0 runs the script. A call sees
the globals that the script had when the call was submitted. `tracking` finds, at each
submission, the globals that the call can reach and those that have changed; `namespace` puts them
in place on the worker.
"""
