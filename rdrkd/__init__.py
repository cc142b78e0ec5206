"""RDR-KD: regenerated, decoupled and responsive knowledge distillation for drone detectors.

Importing this package imports neither torch nor Ultralytics.
"""

__version__ = "0.1.0"
