"""mixlab's side of `training.py`: train runs by the sweep's own executor and print the final losses as JSON.

python benchmarks/ours.py CORPUS --size 200K --runs 16 --batch 8 --tokens 37500 75000
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from setting import spec_of

from mixlab.corpus.inventory import Inventory
from mixlab.study.sweep import ProxyConfig
from proxies.backend.choice import choose_backend
from sweeps.executors.base import Finished
from sweeps.executors.local import LocalExecutor
from sweeps.executors.work import Work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--size", required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--tokens", type=float, nargs="+", required=True)
    options = parser.parse_args()
    fingerprint = Inventory.load(options.corpus).fingerprint
    specs = [spec_of(options.size, options.tokens, options.batch, seed, fingerprint) for seed in range(options.runs)]
    work = Work(options.corpus, choose_backend(ProxyConfig(device="cpu")))
    executor = LocalExecutor(work, os.cpu_count() or 1)
    events = executor.run([(spec,) for spec in specs])
    records = [record for event in events if isinstance(event, Finished) for record in event.records]
    print(json.dumps([record.points[-1].losses["text"] for record in records]))


if __name__ == "__main__":
    main()
