"""Whether a gateway should get traffic: is there a target that may be tried? Pure, with the clock given."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .circuit import CLOSED, Circuit, anchored
from .plan import Catalogue


def may_be_tried(
    catalogue: Catalogue, circuits: Mapping[tuple[str, ...], Circuit], now_s: float, *, listed: Collection[str] = ()
) -> bool:
    """Whether a request that comes now finds a target that is not known to be down.

    The targets are those of a request that names none: the operator's sequence, or the default. One is down while the
    circuit of its origin, or of each model of which there is one, is open with time left; of the models that its map
    serves, or without one of those that are `listed`, if any are, for others are whatever a caller thinks of. An open
    circuit whose time has elapsed is not: else a gateway that was taken out of traffic would never get the probe that
    closes it. Nor is a cooldown: its own 429 says more than a load balancer's 502.

    `circuits`: all that are kept, by provider, and by provider and model.
    """
    for item in catalogue.default:
        facts, asked = catalogue.providers[item.provider], item.model
        if not facts.has_endpoint:
            if facts.takes_endpoint:
                return True  # each caller names a server of its own, and nobody knows which
            continue
        if _is_down(circuits.get((facts.name,), CLOSED), now_s):
            continue
        if asked is not None:
            known = [circuits.get((facts.name, facts.served(asked)), CLOSED)]
        else:
            named = facts.models.values() or listed
            known = [
                circuit
                for key, circuit in circuits.items()
                if len(key) == 2 and key[0] == facts.name and (not named or key[1] in named)
            ]
        if not known or not all(_is_down(circuit, now_s) for circuit in known):
            return True
    return False


def _is_down(seen: Circuit, now_s: float) -> bool:
    circuit = anchored(seen, now_s)
    return circuit.phase == "open" and now_s < circuit.since_s + circuit.open_s
