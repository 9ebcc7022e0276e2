"""What a model is worth on labelled pictures: average precision, intersection over union of masks."""
