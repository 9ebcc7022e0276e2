"""Detection in two stages: proposals, and what each of them holds (R-CNN and its successors)."""
