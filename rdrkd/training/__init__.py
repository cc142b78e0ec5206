"""Training inside Ultralytics: trainer, ranks, images, precision, checkpoints and the state that a run resumes from."""
