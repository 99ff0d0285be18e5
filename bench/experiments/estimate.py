"""Estimate-guided GDP against plain GDP with three times as many MVMs, and fine IP at its own cost.

Each has the best set that ``tools/tune.py`` has found for its own budget (``tuning_*_ROUNDS.json``;
fine IP that of the usual budget, its waits shared out anew, and of the two gains of a pulse's step
the better one of those listed).  Weights and seeds are others than those of the tuning; the start
is part of every budget, and all wait as long.  The negative side is shown, too: pulses and time.

    python bench/experiments/estimate.py            # some minutes; writes bench/results/estimate.md
    python bench/experiments/estimate.py --seeds 1  # a look
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import numpy as np
import tuned
from read_range import SIZE
from rich.progress import track
from tables import RESULTS, made, mean_and_error, provenance, table

import fastaimc as fa

BUDGETS = (20, 40)  # rounds: 5,120 and 10,240 MVM-equivalents, and a dark reading
TIMES = 3
MOST = 1.03  # the ratio of residuals that is claimed
SAMPLES = 1000
