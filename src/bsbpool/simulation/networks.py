"""The network of a simulation: the parameters of LogGP."""

from __future__ import annotations

from typing import NamedTuple


class Network(NamedTuple):
    """The cost of messages, in seconds.

    Parameters
    ----------
    latency : float
        The time from the end of the sender's work to the begin of the receiver's.
    overhead : float
        The CPU time of the MPI library on the sender, and as much on the receiver.
    gap : float
        The least time between two messages of the same rank.
    gap_per_byte : float
        The time for each byte.
    wakeup : float, optional
        How long it takes to wake a rank that sleeps. By default a rank cannot be woken: it finds a
        message when it polls, after sleeps that become longer and longer.
    notify : float, optional
        The CPU time of a sender for waking the receiver.
    """

    latency: float
    overhead: float
    gap: float
    gap_per_byte: float
    wakeup: float = -1e-9
    notify: float = 0.0


# docs/scaling.md ("The model") names the sources of these numbers, and what is assumed.
NETWORKS = {
    "ndr": Network(1.0e-6, 0.3e-6, 0.1e-6, 1 / 50e9),
    "slingshot": Network(1.2e-6, 0.4e-6, 0.1e-6, 1 / 25e9),
    "shared-memory": Network(0.3e-6, 0.3e-6, 0.0, 1 / 5e9, 11e-6, 9e-6),
}
"""Networks by name."""
LOCAL = NETWORKS["shared-memory"]
"""Messages between a leader and its workers."""


def network_of(network: str | Network) -> Network:
    """Return a network by its name, or by its parameters L,o,g,G.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> network_of("2us,0.5us,0.1us,0.04ns").latency
    2e-06
    """
    from bsbpool.simulation.units import seconds_of

    if isinstance(network, Network):
        return network
    if not isinstance(network, str):
        raise TypeError(f"network must be a name or a Network, got {network!r}")
    if network in NETWORKS:
        return NETWORKS[network]
    parts = network.split(",")
    if len(parts) != 4:
        raise ValueError(
            f"network: {network!r} is unknown; use {', '.join(NETWORKS)}, or the four times "
            "L,o,g,G of LogGP, for example 1us,0.3us,0.1us,0.02ns"
        )
    latency, overhead, gap, per_byte = (seconds_of(part, "network") for part in parts)
    return Network(latency, overhead, gap, per_byte)
