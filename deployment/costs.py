"""What a month costs, idle and with predictions, beside managed services: `python -m deployment.costs`."""

import sys
from collections import Counter
from collections.abc import Mapping

_HOURS = 730
# Of one: US dollars, how many a month are free of charge, and where that was read.
PRICES = {
    "vCPU second": (0.000024, 180_000, "cloud.google.com/run/pricing, tier 1, by request; undated copy"),
    "GiB second": (0.0000025, 360_000, "the same, as quoted in cloudchipr.com/blog/cloud-run-pricing, 2025"),
    "request": (0.40 / 1e6, 2e6, "the same, as quoted there"),
    "document read": (0.06 / 1e5, 1.5e6, "firebase.google.com/docs/firestore/pricing, US multi-region; undated"),
    "document written": (0.18 / 1e5, 6e5, "the same; eur3's price not found, taken to be as high"),
    "GiB in Firestore": (0.18, 1, "the same; eur3's price not found, taken to be as high"),
    "GiB through Pub/Sub": (40 / 1024, 10, "cloud.google.com/pubsub/pricing; undated copy"),
    "schedule": (0.10, 3, "cloud.google.com/scheduler/pricing; undated copy"),
    "GB of images": (0.10, 0.5, "cloud.google.com/artifact-registry/pricing; undated copy"),
    "secret": (0.06, 6, "cloud.google.com/secret-manager/pricing; undated copy"),
    "GiB of logs": (0.50, 50, "no page of Google's found; quoted from one by others, 2026-09-29"),
    "e2-standard-2 node hour": (0.0770564, 0, "no page of Google's found; quoted by others, us, 2026-09-29"),
    "small Composer 3 hour": (300 / _HOURS, 0, "no page of Google's found; others report 300 to 400 a month"),
    "db-f1-micro hour": (0.0105, 0, "no page of Google's found; in estimates of others, us, 2022 and later"),
}


def dollars(amounts: Mapping[str, float], *, free_shares: bool) -> float:
    """Return what a month's amounts of PRICES cost, less what Google gives free of charge if that is to be counted."""
    return sum(PRICES[name][0] * max(0.0, amount - free_shares * PRICES[name][1]) for name, amount in amounts.items())


def requests(number: float, seconds: float, gib: float) -> "Counter[str]":
    """Return what requests take that keep an instance of one vCPU for some seconds, and leave 2 kB of log lines."""
    used = {"vCPU second": number * seconds, "GiB second": number * seconds * gib, "request": number}
    return Counter(used | {"GiB of logs": number * 2e3 / 2**30})


def kept(number: float) -> "Counter[str]":
    """Return what results take that are published, stored (4 kB with indexes), and read by nightly and export."""
    used = {"document written": number, "document read": 2 * number, "GiB in Firestore": number * 4e3 / 2**30}
    return requests(number, 0.1, 1) + Counter(used | {"GiB through Pub/Sub": 2 * number * 1e3 / 2**30})


# Four schedules tick 4,410 times: a second of nightly-transform each, with 50 reads and 5 writes.
_FIXED = {"schedule": 4, "secret": 1, "GB of images": 2, "document read": 4410 * 50, "document written": 4410 * 5}
IDLE = requests(4410, 1, 2) + Counter(_FIXED | {"GiB through Pub/Sub": 2 * 4410 * 1e3 / 2**30})
MONTHS: dict[str, Mapping[str, float]] = {
    "Nightshift, idle": IDLE,
    "with a million predictions, back to back": IDLE + requests(1e6, 0.02, 1),
    "with a million, each on its own": IDLE + requests(1e6, 0.1, 1),
    "with a million, each on its own and kept": IDLE + requests(1e6, 0.1, 1) + kept(1e6),
    "with ten million, each on its own and kept": IDLE + requests(1e7, 0.1, 1) + kept(1e7),
    "Vertex AI endpoint, one e2-standard-2": {"e2-standard-2 node hour": _HOURS},
    "Cloud Composer 3, small": {"small Composer 3 hour": _HOURS},
    "Cloud SQL, db-f1-micro, disk apart": {"db-f1-micro hour": _HOURS},
}


def main() -> None:
    """Print the months, and the prices that they were worked out from."""
    lines = [f"{'a month, as of 2026-11-23':42} {'US dollars':>10} {'after free shares':>18}"]
    for title, amounts in MONTHS.items():
        full, less = (dollars(amounts, free_shares=free) for free in (False, True))
        lines.append(f"{title:42} {full:10.2f} {less:18.2f}")
    lines.append(f"\n{'one':24} {'US dollars':>10} {'free a month':>13}  read in")
    for name, (price, free, source) in PRICES.items():
        lines.append(f"{name:24} {price:10.7f} {free:13,.10g}  {source}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
