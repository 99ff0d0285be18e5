"""Hyper-parameter transfer: GDP tuned on one kind of matrix, carried to others and other cores.

Büchel et al. (IEDM 2022, arXiv:2305.16647) state that the best hyper-parameters of GDP do not
depend on the weights, so that one set serves all cores.  Here a set is searched on Gaussian weights
of 256×256 on `presets.hermes()`, and one on every target: other weights, sizes, trained layers,
other devices.  All searches have the same space, sampler and number of trials (32, and 48 near the
best, as `tools/tune.py` does it; the source twice as many) and the same budget: 27 rounds, each of
as many MVM-equivalents as an array has rows; a batch goes with the rows, too.  What a target's
search finds is compared with the source's set on weights and cores (of trained layers: on cores)
that no search has seen.

The source's set is the first trial of every target's search, which only adds to its trials.  What
these are worth by themselves, the same searches on the source say ("again"); what searches differ
by that know nothing of the source's set, those that are "not told".

A target's search draws the same random numbers as another's, so that two where the source's set
leads try the same changes of it, and may end with the same set.  Own sets are chosen by their error
on the search's seeds alone: short searches may miss what a longer one finds, so a loss is what the
source's set loses at least.  What is committed was searched among gains up to 1.2 and without
"max_fill_read", as the space was then.

    pip install -e '.[tune,plot]'
    python bench/experiments/transfer.py             # an hour; goes on where it stopped
    python bench/experiments/transfer.py --report    # tables and figure of what was found
    python bench/experiments/transfer.py --trials 8 --seeds 2 --out /tmp/transfer   # a look

Written are transfer.json, transfer.md and transfer.png in bench/results.  ResNet-9 is among the
targets where `resnet9.py` has trained it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import optuna
import transfer_report
from rich.progress import Progress
from tables import RESULTS, provenance
from transfer_targets import (
    AGAIN,
    SOURCE,
    Params,
    Target,
    default,
    error,
    method_of,
    search,
    targets,
)

TRIALS, SEEDS = 80, 5
FIRST = 11  # of the held-out seeds: 1 is that of `mvm_error`, whose inputs uniform weights would be
DEFAULT = "default"  # the package's own set, of 200 trials on four other kinds of weights

# What of a set is taken from the target's, to see what the loss comes from.
PARTS = {
    "start": ("allocation", "start_from", "start_rounds"),
    "batch": ("batch",),
    "inputs": ("inputs", "amplitude"),
    "waits": ("final_passes", "final_delay"),
    "threshold": ("margin", "margin_end", "kappa"),
    "gain": ("gain", "gain_decay"),
    "largest step": ("max_step",),
}

Document = dict[str, Any]


def measured(target: Target, params: Params, seeds: int) -> list[float] | None:
    """Return the errors that a set leaves of a target, by held-out seed; None: it cannot be had."""
    try:
        method = method_of(optuna.trial.FixedTrial(params), target)
    except optuna.TrialPruned:  # waits for more than there is
        return None
    return [error(method, target, (seed,)) for seed in range(FIRST, FIRST + seeds)]


def exchanged(params: Params, other: Params, part: str) -> Params:
    """Return a set with one part of another."""
    kept = {name: value for name, value in params.items() if name not in PARTS[part]}
    return kept | {name: other[name] for name in PARTS[part] if name in other}


def search_all(document: Document, path: Path, trials: int, progress: Progress) -> None:
    """Search what has not been searched yet, and write after each."""
    sets = document["sets"]
    wanted = targets()
    bar = progress.add_task("searches", total=len(wanted), completed=len(sets))
    for name, target in wanted.items():
        if name in sets:
            continue
        number = target.times * trials
        own = progress.add_task(name, total=number)
        source = sets.get(SOURCE, {}).get("set")
        found = search(target, source, number, lambda _, own=own: progress.advance(own))
        sets[name] = {"kind": target.kind, **found}
        save(document, path)
        progress.remove_task(own)
        progress.advance(bar)


def measure_all(document: Document, path: Path, seeds: int, progress: Progress) -> None:
    """Measure every set on every target, and the source's with each part of the target's own."""
    sets = {name: found["set"] for name, found in document["sets"].items()}
    wanted = {name: target for name, target in targets().items() if target.kind != AGAIN}
    bar = progress.add_task("measurements", total=len(wanted))
    for name, target in wanted.items():
        used = {DEFAULT: default()} | (
            sets if name == SOURCE else {own: sets[own] for own in wanted}
        )
        mixed = {part: exchanged(sets[SOURCE], sets[name], part) for part in PARTS}
        for kind, tried in (("errors", used), ("parts", {} if name == SOURCE else mixed)):
            kept = document[kind].setdefault(name, {})
            for label, params in tried.items():
                if len(kept.get(label) or ()) < seeds:
                    kept[label] = measured(target, params, seeds)
        save(document, path)
        progress.advance(bar)


def save(document: Document, path: Path) -> None:
    """Write all that is known so far, beside and renamed."""
    document["provenance"] = provenance()
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(document, indent=1) + "\n")
    beside.replace(path)


def main() -> None:
    """Search, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each search")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="held out, of each measurement")
    parser.add_argument("--report", action="store_true", help="only write what was found before")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "transfer.json"
    document: Document = {"trials": options.trials, "sets": {}, "errors": {}, "parts": {}}
    if path.exists():
        document = json.loads(path.read_text())
        if document["trials"] != options.trials:
            parser.error(f"{path} has searches of {document['trials']} trials: give another --out")
    if not options.report:
        with Progress() as progress:
            search_all(document, path, options.trials, progress)
            measure_all(document, path, options.seeds, progress)
    transfer_report.write(document, options.out)


if __name__ == "__main__":
    main()
