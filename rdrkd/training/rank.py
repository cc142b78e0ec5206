"""One rank of a training, as `rdrkd.training.ranks` starts it: `python -m rdrkd.training.rank ORDER`.

It loads its own plan and trains like any process; the environment makes it a rank. torch and Ultralytics are imported
only once the parent is watched and the event stream is open.
"""

import sys
from typing import Any

from rdrkd.process.die_with_parent import die_with_parent
from rdrkd.process.process import conclude, events_stream
from rdrkd.reporter import JsonLines, Reporter, Silent


def train(order_text: str, reporter: Reporter) -> dict[str, Any]:
    """Train an order, given as JSON; only rank 0 uses the reporter."""
    from torch.distributed import destroy_process_group

    from rdrkd.training import resume_state
    from rdrkd.training.ranks import Order
    from rdrkd.training.train import train_here
    from rdrkd.ultralytics_adapter import RANK

    order = Order.model_validate_json(order_text)
    resume = None if order.resume is None else resume_state.of(order.run_dir, order.resume)
    mine = reporter if RANK == 0 else Silent()
    devices = ",".join(order.devices)
    best_epoch = train_here(order.plan.load(), order.data, order.run_dir, mine, devices, resume, order.part)
    destroy_process_group()
    return {"best_epoch": best_epoch}


def main() -> int:
    """Train, and report how it ended as one event."""
    die_with_parent()
    return conclude(lambda reporter: train(sys.argv[1], reporter), JsonLines(events_stream()))


if __name__ == "__main__":
    raise SystemExit(main())
