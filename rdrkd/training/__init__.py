"""Training inside Ultralytics: trainer, images, precision, checkpoints and the state that a run resumes from."""
