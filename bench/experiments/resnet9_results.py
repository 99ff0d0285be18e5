"""What `resnet9_cifar10` has measured so far, to be asked for by method, time and bits."""

from __future__ import annotations

from typing import Any

import numpy as np

Records = list[dict[str, Any]]

LABELS = {
    "exact": "exact",
    "exact-affine": "exact, affine",
    "ip": "IP",
    "ip-affine": "IP, affine",
    "ip-fine": "fine IP",
    "ip-fine-affine": "fine IP, affine",
    "gdp": "GDP",
    "estimate": "GDP, estimates",
}
TIMES = {
    0.0: "0 s",
    200.0: "200 s",
    3600.0: "1 h",
    86400.0: "1 day",
    30 * 86400.0: "30 days",
}
USUAL = 200.0
ALL = 10_000  # test images


class Figures:
    """What was measured of one network, of its first `images` test images, or of the most."""

    def __init__(self, records: Records, images: int | None = None) -> None:
        counts = [item["images"] for item in records if "images" in item]
        self.images = images or max(counts, default=0)
        records = [item for item in (cut(one, images) for one in records) if item is not None]
        # What was measured of more images counts.
        records.sort(key=lambda item: item.get("images", 0))
        self.records = _last(records, ("method", "time_s", "bits", "compensation", "seed"))
        self.noisy = _last(records, ("noise", "layer", "seed"))
        head: dict[str, Any] = next((item for item in records if "digital" in item), {})
        self.data: str = head.get("data", "no data")
        self.digital = share(head["digital"]) if head else 0.0
        where = [item["provenance"] for item in records if "provenance" in item]
        self.provenance: dict[str, Any] = where[-1]

    @property
    def which(self) -> str:
        """Of which test images these figures are."""
        count = f"{self.images:,} test images"
        return f"all {count}" if self.images == ALL else f"the first {count}"

    def accuracy(
        self, method: str, time_s: float = USUAL, bits: int = 8, kind: str = "global"
    ) -> dict[int, float]:
        """Return the accuracy in per cent by seed."""
        wanted = (method, time_s, bits, kind)
        names = ("method", "time_s", "bits", "compensation")
        return {
            item["seed"]: share(item)
            for item in self.records
            if tuple(item[name] for name in names) == wanted
        }

    @property
    def usual(self) -> Records:
        """Figures of all methods as programmed, at the usual time."""
        wanted = {"time_s": USUAL, "bits": 8, "compensation": "global"}
        return [item for item in self.records if wanted.items() <= item.items()]

    def known(self, name: str) -> list[Any]:
        """Return the seeds, times or bits of which there are figures, in their order."""
        return sorted({item[name] for item in self.records})

    def layers(self, method: str) -> Records:
        """Return the layers of all seeds of a method, as programmed and compensated."""
        return [
            layer | {"seed": item["seed"]}
            for item in self.records
            if item["method"] == method and item["compensation"] != "none" and "layers" in item
            for layer in item["layers"]
        ]

    def error(self, method: str, name: str, layer: str | None = None) -> float:
        """Return an MVM error in per cent, root mean square over cells and seeds."""
        found = [item for item in self.layers(method) if layer in (None, item["name"])]
        cells = np.array([item["cells"] for item in found])
        values = np.array([item[name] for item in found])
        return float(100 * np.sqrt((cells * values**2).sum() / cells.sum()))

    def cost(self, method: str, name: str) -> float:
        """Return a sum over the layers, or the longest time; the mean over the seeds."""
        seeds: dict[int, list[float]] = {}
        for item in self.layers(method):
            seeds.setdefault(item["seed"], []).append(item[name])
        join = max if name == "latency_s" else sum
        return float(np.mean([join(values) for values in seeds.values()]))

    @property
    def methods(self) -> list[str]:
        """Methods of which there are figures as programmed, in their order."""
        return [name for name in LABELS if self.accuracy(name)]


def paired(above: dict[int, float], below: dict[int, float]) -> list[float]:
    """Return differences of the seeds that both have."""
    return [above[seed] - below[seed] for seed in sorted(above.keys() & below.keys())]


def fewest(items: Records) -> int | None:
    """Return the fewest images that one of these figures is of."""
    return min((item["images"] for item in items), default=None)


def share(item: dict[str, Any]) -> float:
    """Return the images named rightly, in per cent."""
    return 100 * float(item["right"]) / float(item["images"])


def cut(item: dict[str, Any], images: int | None) -> dict[str, Any] | None:
    """Return what a record says of the first images, or None where it says nothing of them."""
    if "digital" in item:
        return item | {"digital": cut(item["digital"], images) or item["digital"]}
    if images is None or item.get("images", images) == images:
        return item
    parts = item.get("parts", [])
    each = item["images"] // max(len(parts), 1)
    if not parts or images % each or images > item["images"]:
        return None
    return item | {"right": sum(parts[: images // each]), "images": images}


def _last(records: Records, names: tuple[str, ...]) -> Records:
    """Return the last record of each kind that these names tell apart."""
    own = [item for item in records if names[0] in item]
    return list({tuple(item[name] for name in names): item for item in own}.values())
