"""Advice that the refusal of a dataset carries from where it is raised."""

LENIENT = "leave it out with --lenient"
DATA_YAML = """write a data.yaml such as
  train: images/train  # labels in labels/train; images/ and labels/ are beside this file
  val: images/val
  names: [person, vehicle, bicycle]"""
