"""One rank with two data loader processes, which Ultralytics gives only to GPUs: `python -m ... ORDER`."""

from typing import Any

from rdrkd.process.die_with_parent import die_with_parent
from rdrkd.training import rank, train
from rdrkd.training.trainer import Trainer


class LoadsAhead(Trainer):
    """The trainer, with loader processes on the CPU."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.args.workers = 2


if __name__ == "__main__":
    die_with_parent()
    train.Trainer = LoadsAhead  # type: ignore[misc]
    raise SystemExit(rank.main())
