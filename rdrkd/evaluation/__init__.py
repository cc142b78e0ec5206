"""Evaluation of a detector: COCO metrics, ground truth, images of predictions."""
