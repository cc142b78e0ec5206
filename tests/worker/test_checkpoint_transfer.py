"""The files that a job publishes: every file that a run writes for its owner is one of them."""

from rdrkd.export.formats import KINDS
from rdrkd.run_folder import names
from rdrkd.run_folder.checkpoint_files import WEIGHTS
from rdrkd.study import panel
from worker.checkpoint_transfer import EARLY, FINAL, MAX_FILES

STAYS = {
    names.SPEC,
    names.FAILURE,
    names.CALLED,
    names.MEMBER,
    names.CHECKPOINTS,
}  # of the service and of what starts the run


def test_every_file_of_a_run_is_published() -> None:
    of_runs = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)} - STAYS
    written = {*of_runs, *names.SHOWN, *(file for each in WEIGHTS.values() for file in each), names.STUDY, panel.NAME}
    assert written | {kind.file for kind in KINDS.values()} <= set(FINAL)
    assert set(EARLY) <= set(FINAL)
    assert len(FINAL) <= MAX_FILES
