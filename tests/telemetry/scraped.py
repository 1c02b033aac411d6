"""A scrape of Prometheus, as its own client reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


class Scraped:
    def __init__(self, text: bytes | str) -> None:
        self.text = text.decode() if isinstance(text, bytes) else text
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}
        self.samples: dict[str, dict[Labels, float]] = {}
        for family in self.families.values():
            for sample in family.samples:
                self.samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """Of one series; 0 where there is none. A trailing underline is left out of a label's name."""
        wanted = {key.rstrip("_"): value for key, value in labels.items()}
        return self.samples.get(name, {}).get(tuple(sorted(wanted.items())), 0.0)

    def of(self, name: str) -> dict[Labels, float]:
        return self.samples.get(name, {})
