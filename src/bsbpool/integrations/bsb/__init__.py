"""Makes bsb-core 8 run its jobs on this pool, without a change to bsb-core.

::

    from bsbpool.integrations import bsb as adapter
    adapter.install()          # before bsb is used
    from bsb import Scaffold

All that is specific to BSB is in this package: `BsbJobPool` with the names of BSB's own pool, its
kinds of jobs, the nodes of its configuration, and the installation.
"""

from bsbpool.integrations.bsb.installation import install, is_installed, uninstall

__all__ = ["install", "is_installed", "uninstall"]
