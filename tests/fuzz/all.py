"""All that is fuzzed, by name."""

from __future__ import annotations

from . import answers, events, requests, splits, urls

ROOMS = (requests, events, answers, urls, splits)
TARGETS = {target.name: target for room in ROOMS for target in room.TARGETS}
