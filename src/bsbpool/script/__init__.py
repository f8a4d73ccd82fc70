"""Sending the globals of a script to workers that do not run the script.

Under ``python -m bsbpool.run``, and with spawned workers, only rank 0 runs the script. A call uses
the values that the globals had when the call was submitted. At each submission, `tracking` finds
the globals that the call can reach and those that have changed; on the worker, `namespace` sets
them before the call.
"""
