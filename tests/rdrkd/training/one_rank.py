"""One rank of a training, started by torchrun: trains with the library's own trainer and writes down what it saw.

    torchrun --nproc-per-node 2 one_rank.py ORDER OUT [FAULT...]

Writes OUT/<rank>.json. Faults are real ones, of rank 1 alone: `nan` (its teacher overflows in the second epoch, until
the run has recovered), `drift` (its student changes by itself in the last epoch), `inert` (what the feature terms
compare is cut off from its student).
"""

import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from rdrkd.reporter import Memory
from rdrkd.training.precision import precision
from rdrkd.training.ranks import Order
from rdrkd.training.trainer import Trainer
from rdrkd.ultralytics_adapter import RANK, unwrap_model

FIRST = "student_model.model.0.conv.weight"  # the parameter that is followed


class Witness(Trainer):
    """The trainer with a notebook, and with faults."""

    def __init__(self, order: Order, faults: list[str]) -> None:
        super().__init__(order.plan.load(), order.data, order.run_dir, Memory(), ",".join(order.devices))
        self.faults = faults if RANK == 1 else []
        self.seen: dict[str, Any] = {"images": {}, "batches": []}
        self.add_callback("on_pretrain_routine_end", type(self)._begin)
        self.add_callback("on_train_batch_start", type(self)._fail)
        self.add_callback("on_train_batch_end", type(self)._note)
        self.add_callback("on_fit_epoch_end", type(self)._note_losses)

    def _first(self) -> torch.nn.Parameter:
        return unwrap_model(self.model).get_parameter(FIRST)

    def _begin(self) -> None:
        self.seen["start"] = self._first().flatten().tolist()
        if "inert" in self.faults:
            for adapter in self.distiller.projector["adapters"].values():
                adapter.register_forward_hook(lambda _module, _inputs, output: output.detach())
        self._first().register_hook(lambda gradient: self.seen.update(own_gradient=gradient.flatten().tolist()))

    def _fail(self) -> None:
        if "nan" in self.faults:
            overflowing = self.epoch == 1 and self.recoveries == 0
            weight = self.distiller.teacher_model.model[0].conv.weight
            self.intact = getattr(self, "intact", weight.clone())
            weight.copy_(torch.full_like(weight, torch.inf) if overflowing else self.intact)
        if "drift" in self.faults and self.epoch + 1 == self.epochs:
            with torch.no_grad():
                self._first().view(-1)[0] += 1e-6

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        images = self.seen["images"].setdefault(f"{self.epoch + 1}, {self.recoveries} recoveries", [])
        images += [Path(file).name for file in batch["im_file"]]
        return super().preprocess_batch(batch)

    def optimizer_step(self) -> None:
        self.seen["gradient"] = self._first().grad.flatten().tolist()
        super().optimizer_step()

    def _note(self) -> None:
        digest = hashlib.sha256()
        for parameter in unwrap_model(self.model).parameters():
            digest.update(parameter.detach().numpy().tobytes())
        self.seen["batches"].append(
            {
                "epoch": self.epoch + 1,
                "recoveries": self.recoveries,
                "loss": {name: float(value) for name, value in self.loss_items.items()},
                "weights": dict(self.distiller.weights),
                "student": digest.hexdigest(),
            }
        )

    def _note_losses(self) -> None:
        self.seen["losses"] = {name: float(value) for name, value in self.tloss.items()}


def main() -> None:
    """Train, and write whatever comes of it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once another rank has failed: this one fails by itself
    trainer = Witness(Order.model_validate_json(Path(sys.argv[1]).read_text()), sys.argv[3:])
    try:
        with precision(trainer.dtype):
            trainer.train()
    except Exception as error:
        trainer.seen["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        Path(sys.argv[2], f"{RANK}.json").write_text(json.dumps(trainer.seen))


if __name__ == "__main__":
    main()
